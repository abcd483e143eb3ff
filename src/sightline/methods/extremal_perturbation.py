"""Extremal perturbation."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from sightline.arrays import Array, like, namespace, to_numpy
from sightline.hiding import check_share
from sightline.method import Checks, Count, Size, method
from sightline.methods._optimised import descend, staged
from sightline.model import Model, Target

_SIGMA = 21 / 224  # of the image's side
_COLD = 20.0  # one over the temperature of the smooth maximum
_AREA = (3.0, 300.0)  # weight of the area, at the first and the last step; 10 at first would empty all cells alike


@method(
    "gradient",
    family="perturbation",
    cost="2 F + (steps + 1) FB a target",
    source="Fong et al. 2019, equations 4, 5 and 7, arXiv:1910.08485",
)
def extremal_perturbation(
    model: Model,
    x: Array,
    target: Target,
    *,
    baseline: Array = "blurred",
    area: Size = 0.1,
    cells: Count = 32,
    steps: Count = 300,
    rate: Size = 0.05,
) -> tuple[Array, Checks]:
    """The smooth mask of a given area that keeps most of the score, found by gradient ascent.

    Shape (k, n, cells, cells), 0 to 1: how much of each cell is kept. The mask is the smooth maximum of Gaussian-like
    bumps of 21/224 of the image's side; the area is held by the squared distance of its sorted values from as many
    ones as `area` asks and zeros, whose weight grows from step to step, from so little that the score chooses.
    As the authors' code does, it begins with a mask that keeps everything; unlike it, it takes steps of Adam, mirrors
    nothing, and counts the score in shares of its way from the baseline to the image. Checks: `area`, what the mask
    keeps of the image, a little more than asked as its edges are soft; `kept`, the share of the score that it keeps.
    What lies outside may serve as well: that this area is enough does not mean that it is needed.
    """
    check_share("area", area)
    stage = staged(model, x, target, baseline, cells)
    spread = _spread(cells, x)

    def slope(step: int, seeds: Array) -> Array:
        masks, back = spread(seeds)
        weight = _AREA[0] * (_AREA[1] / _AREA[0]) ** (step / max(1, steps - 1))
        wanted = like(_wanted(to_numpy(masks), area), x)
        return back(2 * weight / cells**2 * (masks - wanted) - stage.share(masks)[1])

    seeds = descend(stage, stage.masks(cells), steps, rate, slope)
    masks, _ = spread(seeds)
    return masks, {"area": namespace(masks).mean(masks, axis=(-2, -1)), "kept": stage.share(masks)[0]}


Spread = Callable[[Array], tuple[Array, Callable[[Array], Array]]]


def _spread(cells: int, x: Array) -> Spread:
    """`seeds -> masks, back`: each cell the smooth maximum of its neighbours' seeds times how near they are; `back`
    takes a gradient with respect to the masks to one with respect to the seeds."""
    xp, sigma = namespace(x), _SIGMA * cells
    reach = np.arange(-int(np.ceil(2 * sigma)), int(np.ceil(2 * sigma)) + 1)
    shifts = like(np.stack([np.eye(cells, k=offset) for offset in reach.tolist()]), x)
    turned = xp.moveaxis(shifts, -1, -2)
    far = np.hypot(*np.meshgrid(reach, reach, indexing="ij")) / sigma
    near = like(np.exp(-2 * np.maximum(far - 0.5, 0) ** 2)[:, :, None, None, None, None], x)

    def spread(seeds: Array) -> tuple[Array, Callable[[Array], Array]]:
        lines = xp.matmul(shifts[:, None, None, ...], seeds[None, ...])
        values = near * xp.matmul(lines[:, None, ...], turned[None, :, None, None, ...])
        weights = xp.exp(_COLD * (values - xp.max(values, axis=(0, 1))))
        weights = weights / xp.sum(weights, axis=(0, 1))
        masks = xp.sum(weights * values, axis=(0, 1))
        return masks, partial(back, weights * (1 + _COLD * (values - masks)) * near)

    def back(slopes: Array, gradient: Array) -> Array:
        lines = xp.sum(xp.matmul(slopes * gradient, shifts[None, :, None, None, ...]), axis=1)
        return xp.sum(xp.matmul(turned[:, None, None, ...], lines), axis=0)

    return spread


def _wanted(masks: np.ndarray, area: float) -> np.ndarray:
    """What the place of each value in their order asks of it: 1 among the `area` largest, else 0; like values share."""
    flat = np.round(masks.reshape(-1, masks.shape[-2] * masks.shape[-1]).astype(np.float64), 6)
    out, cut = np.empty(flat.shape), flat.shape[1] * (1 - area)
    for i, values in enumerate(flat):
        ordered = np.sort(values)
        low, high = (np.searchsorted(ordered, values, side=side) for side in ("left", "right"))
        out[i] = np.maximum(high - np.maximum(low, cut), 0) / (high - low)
    return out.reshape(masks.shape)
