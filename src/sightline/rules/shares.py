"""What every relevance rule shares: dividing relevance among what an operation was given."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from sightline.arrays import Array, like, namespace, relu
from sightline.errors import ModelError
from sightline.model import Back, Op, Refused

Pull = Callable[[Array], Array]


def ratio(a: Array, b: Array, epsilon: float = 0.0) -> Array:
    """`a` / `b`, `b` moved away from zero by `epsilon`; 0 where that leaves it zero."""
    xp = namespace(b)
    if epsilon:
        b = b + xp.copysign(like(np.asarray(epsilon), b), b)
        if "16" not in str(b.dtype):  # where a small epsilon may be none
            return a / b
    return xp.where(b == 0, xp.zeros_like(b), a / xp.where(b == 0, xp.ones_like(b), b))


def negative(a: Array) -> Array:
    """The negative part of `a`."""
    return -relu(-a)


def unchanged(op: Op, share: float = 1.0) -> Back:
    """Relevance passes to what hangs on the image, a `share` to each, whatever the values (Bach et al. 2015, 2.5)."""
    if len(op.carries) == 1:
        return _same
    shapes = [tuple(a.shape) for a in op.args]

    def back(y: Array, relevance: Array) -> tuple[Array, ...]:
        return tuple(_summed(relevance, s) * (share * carries) for s, carries in zip(shapes, op.carries))

    return back


def _same(y: Array, relevance: Array) -> tuple[Array]:
    return (relevance,)


def _summed(a: Array, shape: Sequence[int]) -> Array:
    """`a` summed over the axes along which an array of `shape` was spread."""
    if tuple(a.shape) == tuple(shape):
        return a
    xp, more = namespace(a), a.ndim - len(shape)
    a = xp.sum(a, axis=tuple(range(more))) if more else a
    spread = tuple(i for i, side in enumerate(shape) if side == 1)
    return xp.sum(a, axis=spread, keepdims=True) if spread else a


def proportional(op: Op, epsilon: float = 0.0, share: float = 1.0) -> Back:
    """Each input gets relevance in proportion to what it brings to the output: the ε rule of any linear operation."""
    args = op.args

    def back(y: Array, relevance: Array) -> tuple[Array, ...]:
        shares = ratio(relevance, y, epsilon)
        found = op.pulled(shares if share == 1 else shares * share)
        return tuple(a * g for a, g in zip(args, found))

    return back


def axis_of_images(rows: int | None, shape: Sequence[int]) -> int | None:
    """Along which axis a value has one entry for each image: the first, or that of (tokens, images, channels); None
    where neither or both have as many. Where the number is not known, it is the first."""
    if rows is None:
        return 0
    second = len(shape) == 3 and shape[1] == rows
    if shape[0] == rows:
        return None if second else 0
    return 1 if second else None


def refusal(op: Op, method: str, fix: str) -> Refused:
    """A ModelError, if relevance comes back to this operation."""
    name, where = op.params.get("name", op.kind), op.place or "the model itself"
    return Refused(ModelError(f"the model has {name!r} (in {where!r}), for which {method} has no rule.", fix))
