"""RISE."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from sightline.arrays import Array, namespace, resize, to_numpy
from sightline.method import Checks, Count, Size, method
from sightline.methods._masks import check_share, hidden, size_of
from sightline.methods._sampling import Estimate, Samples, error_of_mean, rounds, settled
from sightline.model import Model, Target


@method(
    family="perturbation", cost="samples F", source="Petsiuk et al. 2018, equation 6 and section 3.2, arXiv:1806.07421"
)
def rise(
    model: Model,
    x: Array,
    target: Target,
    *,
    baseline: Array = "mean",
    cells: Count = 7,
    keep: Size = 0.5,
    samples: Samples = 4000,
    tolerance: Size | None = None,
    random_state: int = 0,
) -> tuple[Array, Checks]:
    """Mean score of the image behind random smooth masks, each pixel's taken over the masks that keep it.

    Shape (k, n, height, width), in units of score. A mask is a grid of `cells` by `cells`, each kept with probability
    `keep`, enlarged bilinearly and moved by a random shift of its own. The sum is divided by the expected mask, as in
    the paper. Checks: `standard_error`, the mean over the map in shares of its range; `samples`, those used; with
    `tolerance` it stops (at an eighth of `samples` or a multiple) when the error is under it. Its level is the mean
    score of masked images, so that only the differences between pixels tell; it blurs what is smaller than a cell.
    """
    check_share("keep", keep)
    draw = partial(_masks, size=size_of(model, x), cells=cells, keep=keep, random_state=random_state)
    return settled(_estimates(model, x, target, baseline, draw, keep, samples, tolerance), tolerance, x)


def _estimates(
    model: Model,
    x: Array,
    target: Target,
    baseline: Array,
    draw: partial[np.ndarray],
    keep: float,
    samples: int,
    tolerance: float | None,
) -> Iterator[Estimate]:
    xp, (height, width) = namespace(x), size_of(model, x)
    total, squares = 0.0, 0.0
    for items in rounds(samples, tolerance):
        for masks, score in hidden(model, x, target, baseline, items, draw):
            flat, weights = xp.reshape(masks, (masks.shape[0], -1)), xp.moveaxis(score, 1, 2)
            total = total + xp.matmul(weights, flat)
            squares = squares + xp.matmul(weights * weights, flat * flat)
        sums = [to_numpy(a).astype(np.float64) / keep**power for power, a in ((1, total), (2, squares))]
        sums = [a.reshape(*a.shape[:2], height, width) for a in sums]
        yield items.stop, sums[0] / items.stop, error_of_mean(sums[0], sums[1], items.stop), {}


def _masks(some: list[int], size: tuple[int, int], cells: int, keep: float, random_state: int) -> np.ndarray:
    return np.stack([_mask(np.random.default_rng([random_state, k]), size, cells, keep) for k in some])[:, None]


def _mask(rng: np.random.Generator, size: tuple[int, int], cells: int, keep: float) -> np.ndarray:
    """One mask: enlarged by one cell more than the image, which is cut out of it after a random shift."""
    cell = [-(-side // cells) for side in size]
    large = resize(
        (rng.random((cells, cells)) < keep).astype(np.float64), ((cells + 1) * cell[0], (cells + 1) * cell[1])
    )
    top, left = (int(rng.integers(side)) for side in cell)
    return np.asarray(large[top : top + size[0], left : left + size[1]])
