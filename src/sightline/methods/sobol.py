"""Total Sobol indices."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sightline.arrays import Array
from sightline.hiding import blocks, scores, size_of
from sightline.method import Checks, Count, Size, method
from sightline.methods._sampling import Estimate, Samples, rounds, settled
from sightline.model import Model, Target


@method(
    family="perturbation",
    cost="samples × (cells² + 1) F",
    source="Fel et al. 2021, section 3, arXiv:2111.04138; estimator of Jansen 1999, doi:10.1016/S0010-4655(98)00154-4",
)
def sobol(
    model: Model,
    x: Array,
    target: Target,
    *,
    baseline: Array = "mean",
    cells: Count = 8,
    samples: Samples = 32,
    tolerance: Size | None = None,
    random_state: int = 0,
) -> tuple[Array, Checks]:
    """Share of the score's variance, under random fading of the image's cells, that each cell has a part in.

    Shape (k, n, cells, cells), not negative; a cell's total Sobol index, alone and with others, so that the sum is one
    or more, but for chance. Cells fade towards the baseline by a scrambled Sobol sequence; `samples` is best a power of
    two. Checks: `standard_error`, the mean over the map in shares of its range, as if the draws were independent, which
    is too large for such a sequence; `samples`, those used (with `tolerance` it stops at an eighth of them or a
    multiple). It tells what matters, never whether for or against the target.
    """
    size, count = size_of(model, x), cells * cells
    points = _sequence(2 * count, samples, random_state)

    def fade(some: list[int]) -> Array:
        rows = np.array([_point(points, *divmod(item, count + 1)) for item in some])
        return blocks(rows.reshape(-1, 1, cells, cells), size, x)

    def estimates() -> Iterator[Estimate]:
        known: list[np.ndarray] = []
        for draws in rounds(samples, tolerance):
            passes = range(draws.start * (count + 1), draws.stop * (count + 1))
            left = scores(model, x, target, baseline, passes, fade)
            known.append(left.reshape(left.shape[0], len(draws), count + 1, left.shape[2]))
            index, error = _jansen(np.moveaxis(np.concatenate(known, axis=1), 3, 1))
            grid = (*index.shape[:2], cells, cells)
            yield draws.stop, index.reshape(grid), error.reshape(grid), {}

    return settled(estimates(), tolerance, x)


def _sequence(dimensions: int, samples: int, random_state: int) -> np.ndarray:
    """Points (samples, dimensions) in the unit cube."""
    from scipy.stats import qmc

    sequence = qmc.Sobol(dimensions, seed=np.random.default_rng(random_state))
    return np.asarray(sequence.random_base2((samples - 1).bit_length())[:samples])


def _point(points: np.ndarray, sample: int, replaced: int) -> np.ndarray:
    """The first half of a point; its coordinate `replaced` - 1 is that of the second half, for 0 none is."""
    first, second = np.split(points[sample], 2)
    return np.where(np.arange(len(first)) == replaced - 1, second, first)


def _jansen(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices and their standard errors (..., d) of scores (..., samples, 1 + d)."""
    count = scores.shape[-2]
    variance = scores[..., :1].var(axis=-2, ddof=1) if count > 1 else np.zeros((*scores.shape[:-2], 1))
    halves = (scores[..., 1:] - scores[..., :1]) ** 2 / 2
    scale = np.maximum(variance, 1e-30)
    spread = halves.std(axis=-2, ddof=1) / np.sqrt(count) if count > 1 else np.full(halves.mean(axis=-2).shape, np.inf)
    return halves.mean(axis=-2) / scale, spread / scale
