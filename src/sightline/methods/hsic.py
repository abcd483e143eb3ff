"""Dependence of the score on each cell, by HSIC."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sightline.arrays import Array
from sightline.hiding import blocks, scores, size_of
from sightline.method import Checks, Count, Size, method
from sightline.methods._sampling import Estimate, Samples, rounds, settled
from sightline.model import Model, Target


@method(family="perturbation", cost="samples F", source="Novello et al. 2022, section 3, arXiv:2206.06219")
def hsic(
    model: Model,
    x: Array,
    target: Target,
    *,
    baseline: Array = "mean",
    cells: Count = 8,
    samples: Samples = 512,
    tolerance: Size | None = None,
    random_state: int = 0,
) -> tuple[Array, Checks]:
    """Dependence of the score on whether a cell of the image is kept (Hilbert-Schmidt independence criterion).

    Shape (k, n, cells, cells), not negative, without unit. Each cell is kept with probability 1/2, or is the baseline;
    the kernel of a cell's mask is whether two are alike, that of the scores Gaussian, as wide as the median distance of
    two scores. The estimate is the paper's, tr(KHLH) / (samples - 1)², a little above zero also for a cell that does
    nothing. Checks: `standard_error`, the mean over the map in shares of its range; `samples`, those used (with
    `tolerance` it stops at an eighth of them or a multiple). It tells what matters, never whether for or against the
    target; what cells do only together it can miss.
    """
    size = size_of(model, x)

    def draw(k: int) -> np.ndarray:
        return np.random.default_rng([random_state, k]).random(cells * cells) < 0.5

    def keep(some: list[int]) -> Array:
        return blocks(np.stack([draw(k) for k in some]).reshape(-1, 1, cells, cells), size, x)

    def estimates() -> Iterator[Estimate]:
        known: list[np.ndarray] = []
        for draws in rounds(samples, tolerance):
            known.append(scores(model, x, target, baseline, draws, keep))
            y = np.moveaxis(np.concatenate(known, axis=1), 1, 2)
            masks = np.stack([draw(k) for k in range(draws.stop)]).astype(float)
            found = np.array([[_dependence(masks, own) for own in each] for each in y])
            grid = (*y.shape[:2], cells, cells)
            yield draws.stop, found[:, :, 0].reshape(grid), found[:, :, 1].reshape(grid), {}

    return settled(estimates(), tolerance, x)


def _dependence(masks: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """HSIC of each column of `masks` (m, d) with `y` (m,), and its standard error.

    The kernel of whether two masks are alike, once centred, is twice the product of the centred masks, so that no
    matrix is needed for it. The error is that of a V-statistic to first order: twice that of the mean of its rows.
    """
    count = len(y)
    if count < 2:
        return np.zeros(masks.shape[1]), np.full(masks.shape[1], np.inf)
    apart = np.abs(y[:, None] - y)
    width = np.median(apart[np.triu_indices(count, 1)])
    alike = np.exp(-(apart**2) / (2 * width**2)) if width > 0 else np.ones((count, count))
    alike = alike - alike.mean(axis=0) - alike.mean(axis=1)[:, None] + alike.mean()
    sides = masks - masks.mean(axis=0)
    rows = 2 * sides * (alike @ sides) * count / (count - 1) ** 2  # their mean is HSIC
    return rows.mean(axis=0), 2 * rows.std(axis=0, ddof=1) / np.sqrt(count)
