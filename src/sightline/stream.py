"""Chunked passes: all chunking of perturbed inputs lives here."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from contextvars import ContextVar
from itertools import islice
from typing import Any, TypeVar

import numpy as np

from sightline.arrays import Array, like, namespace
from sightline.model import Model, Place, Rule, Target, Trace

Item = TypeVar("Item")
Progress = Callable[[int, int | None], None]  # (items done, items in all if that is known)
PROGRESS: ContextVar[Progress | None] = ContextVar("PROGRESS", default=None)
"""Who wants to hear how far a stream is; set by whoever shows it."""


def passing(model: Model, x: Array) -> int:
    """How many images like `x` go into a pass: `model.chunk`, halved as long as what a layer gives is too large to be
    quick, where the adapter tells from how many bytes on that is so.
    """
    quick, count = getattr(model, "quick", None), model.chunk
    if quick is None or count == 1:
        return count
    own = x.dtype.itemsize * max(math.prod(layer.shape) for layer in model.places(x) if not layer.attends)
    while count > 1 and count * own > quick:
        count //= 2
    return count


def groups(model: Model, x: Array, items: Iterable[Item]) -> Iterator[list[Item]]:
    """A lazy stream of items, as many at a time as copies of the images `x` go into one pass."""
    tell, done = PROGRESS.get(), 0
    total = len(items) if isinstance(items, Sized) else None
    lazily, size = iter(items), max(1, passing(model, x) // x.shape[0])
    while group := list(islice(lazily, size)):
        yield group
        done += len(group)
        if tell:
            tell(done, total)


def stream(
    model: Model,
    x: Array,
    items: Iterable[Item],
    perturb: Callable[[list[Item]], Array],
    *,
    at: Sequence[Place] = (),
    target: Target | None = None,
    rule: Rule | None = None,
) -> Iterator[tuple[list[Item], Trace]]:
    """Run `model` on perturbed copies of the images `x`, a pass full at a time: (the items of the pass, its trace).

    `perturb(m items)` makes the copies (m, n, ...) that go into one pass, so that no more than these are ever held. The
    trace has the same axis: outputs and values (m, n, ...), score (k, m, n), grads (k, m, n, ...).
    """
    for group in groups(model, x, items):
        asked = target and target.repeat(len(group))  # the copies are let go of before others are made
        yield group, _split(model.run(_packed(perturb(group)), at=at, target=asked, rule=rule), len(group))


def _packed(copies: Array) -> Array:
    """Copies (m, n, ...) behind each other."""
    return namespace(copies).reshape(copies, (-1, *copies.shape[2:]))


def _split(trace: Trace, count: int) -> Trace:
    """A trace of `count` batches behind each other, with an axis of their own."""
    return Trace(
        split(trace.outputs, count, 0),
        None if trace.score is None else split(trace.score, count, 1),
        {place: split(value, count, 0) for place, value in trace.values.items()},
        {place: split(grad, count, 1) for place, grad in trace.grads.items()},
        trace.head,
    )


def split(a: Array, count: int, axis: int) -> Array:
    """`a` with its `axis` of count * n made two, (count, n)."""
    shape = tuple(a.shape)
    return namespace(a).reshape(a, (*shape[:axis], count, shape[axis] // count, *shape[axis + 1 :]))


def column(values: Sequence[float], x: Array) -> Array:
    """Numbers as an array (m, 1, ...) that meets copies (m, n, ...) of `x` item by item."""
    return like(np.reshape(np.asarray(values), (-1, *[1] * x.ndim)), x)


def along(value: Any, x: Array, change: Callable[[Array], Array]) -> Any:
    """An option of a method for the images `x`: changed if it is like them, a baseline or each of several."""
    if isinstance(value, tuple):
        return tuple(along(each, x, change) for each in value)
    return change(value) if getattr(value, "shape", None) == x.shape else value
