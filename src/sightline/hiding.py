"""What perturbation methods and metrics share: hiding parts of the images, and the scores that are left."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from sightline.arrays import Array, like, namespace, sides, to_numpy
from sightline.eager import fused
from sightline.errors import MethodError
from sightline.model import Model, Target
from sightline.stream import stream

Masks = Callable[[list[int]], Array]
"""Of some items: how much of each pixel is kept, (items, images, height, width), or one for all images; NumPy's array or
the framework's own."""


def size_of(model: Model, x: Array) -> tuple[int, int]:
    """Height and width of the images; MethodError where there are none."""
    if x.ndim != 4:
        raise MethodError(
            f"an input of shape {tuple(x.shape[1:])} was given; hiding parts of it needs height, width and channels.",
            "Use a method that needs no picture, such as gradient or integrated-gradients.",
        )
    return sides(x, model.channel)


def check_share(name: str, value: float) -> None:
    """Raise MethodError for what is not between 0 and 1."""
    if not 0 < value < 1:
        raise MethodError(f"{name}={value!r} was given; expected a share between 0 and 1.", "Give one such as 0.5.")


@fused
def mixed(share: Array, a: Array, b: Array) -> Array:
    """`a` where `share` is 1, `b` where it is 0, and between them in proportion; all spread over each other."""
    if hasattr(b, "lerp") and share.dtype == a.dtype == b.dtype:  # torch: in one go
        return b.lerp(a, share)
    return share * a + (1 - share) * b


def blend(model: Model, x: Array, baseline: Array, masks: Array) -> Array:
    """Images (..., n, *image) that are `x` where a mask (..., n or 1, height, width) is 1, and the baseline where 0."""
    return mixed(namespace(masks).expand_dims(masks, axis=model.channel), x, baseline)


def hidden(
    model: Model, x: Array, target: Target, baseline: Array, items: Sequence[int], masks: Masks
) -> Iterator[tuple[Array, Array]]:
    """A pass full at a time: the masks of its items (m, n or 1, height, width), and the scores left (k, m, n)."""
    made: list[Array] = []  # of the pass under way: they are needed once more with its scores

    def perturb(some: list[int]) -> Array:
        made[:] = [like(masks(some), x)]
        return blend(model, x, baseline, made[0])

    for _, trace in stream(model, x, items, perturb, target=target):
        yield made[0], trace.score


def scores_of(
    model: Model, x: Array, target: Target, items: Sequence[int], perturb: Callable[[list[int]], Array]
) -> np.ndarray:
    """The scores (k, items, n) of the images that `perturb` makes of some of the items, (m, n, *image), in float64."""
    passes = stream(model, x, items, perturb, target=target)
    each = [1 * trace.score for _, trace in passes]  # on the device until the end, and no view of what is written again
    return np.concatenate([to_numpy(score) for score in each], axis=1).astype(np.float64)


def scores(model: Model, x: Array, target: Target, baseline: Array, items: Sequence[int], masks: Masks) -> np.ndarray:
    """The scores left by the masks of all items, (k, items, n), on the host in float64."""
    return scores_of(model, x, target, items, lambda some: blend(model, x, baseline, like(masks(some), x)))


def ends(model: Model, x: Array, target: Target, baseline: Array) -> tuple[np.ndarray, np.ndarray]:
    """The scores (k, n) of the images and of their baselines, on the host in float64."""
    whole, none = (to_numpy(model.run(a, target=target).score).astype(np.float64) for a in (x, baseline))
    return whole, none


def blocks(values: np.ndarray, size: tuple[int, int], x: Array) -> Array:
    """`values` (..., rows, columns) over the pixels of `size`, each a block of its own, as an array like `x`."""
    rows, columns = (
        np.arange(side)[:, None] * cells // side == np.arange(cells) for side, cells in zip(size, values.shape[-2:])
    )
    xp = namespace(x)
    return xp.matmul(xp.matmul(like(rows, x), like(values, x)), like(columns.T, x))
