"""What TensorFlow is spared: each of its eager operations takes a tenth of a millisecond, and goes over the memory alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from typing import Any, TypeVar

from sightline.arrays import Array, like, to_numpy

F = TypeVar("F", bound=Callable[..., Array])
_SHAPES = 32  # for which a function is compiled; what is compiled is never let go of


def on_host(function: F) -> F:
    """Mark a function of small arrays: it works on NumPy's where it is given TensorFlow's outside a graph."""

    @wraps(function)
    def run(*arrays: Array) -> Array:
        eager = [a for a in arrays if _is_eager(a)]
        if not eager:
            return function(*arrays)
        return like(function(*(to_numpy(a) if _is_eager(a) else a for a in arrays)), eager[0])

    return run  # type: ignore[return-value]


def fused(function: F) -> F:
    """Mark a function whose operations TensorFlow compiles into one, on a CPU and outside a graph."""
    seen: set[Any] = set()

    @wraps(function)
    def run(*arrays: Array) -> Array:
        if not all(_is_eager(a) and "CPU" in a.device for a in arrays):
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


def _is_eager(a: Any) -> bool:
    return type(a).__name__ == "EagerTensor"
