"""What TensorFlow is spared: each of its eager operations takes a tenth of a millisecond, and goes over the memory alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from typing import Any, TypeVar

from sightline.arrays import Array, like, to_numpy

F = TypeVar("F", bound=Callable[..., Array])
_SHAPES = 32  # for which a function is compiled; what is compiled is never let go of


def on_host(function: F) -> F:
    """Mark a function of small arrays, whose result is of the first one's type: given TensorFlow's outside of a graph and
    of a tape, it works on NumPy's.
    """

    @wraps(function)
    def run(*arrays: Array) -> Array:
        if not all(map(_is_eager, arrays)) or _is_recorded():
            return function(*arrays)
        return like(function(*map(to_numpy, arrays)), arrays[0])

    return run  # type: ignore[return-value]


def fused(function: F) -> F:
    """Mark a function whose operations TensorFlow compiles into one, on a CPU and outside a graph."""
    seen: set[Any] = set()

    @wraps(function)
    def run(*arrays: Array) -> Array:
        if not all(_is_eager(a) and "CPU" in a.device for a in arrays) or _is_recorded():
            return function(*arrays)
        shapes = tuple((a.shape, a.dtype) for a in arrays)
        if shapes not in seen and len(seen) == _SHAPES:
            return function(*arrays)
        seen.add(shapes)
        return _compiled(function)(*arrays)

    return run  # type: ignore[return-value]


@cache
def _compiled(function: Callable[..., Array]) -> Any:
    import tensorflow as tf

    return tf.function(function, jit_compile=True, autograph=False, reduce_retracing=True)


def _is_recorded() -> bool:
    """Whether a graph is being made, or a tape may follow what is done."""
    return _in_a_graph() or _under_a_tape()


def _in_a_graph() -> bool:
    import tensorflow as tf

    return not tf.executing_eagerly()


def _under_a_tape() -> bool:
    from tensorflow.python.eager.record import could_possibly_record  # no public name tells

    return bool(could_possibly_record())


def _is_eager(a: Any) -> bool:
    return type(a).__name__ == "EagerTensor"
