"""μ-fidelity."""

from __future__ import annotations

from typing import Literal

import numpy as np

from sightline.arrays import Array, to_numpy
from sightline.hiding import blocks, check_share, scores
from sightline.method import Count
from sightline.metric import Scored, metric
from sightline.metrics._removal import scored_as
from sightline.model import Model, Target

_ALIKE = 1e-9  # of the largest sum: sums that differ by less are the same but for rounding


@metric(
    family="faithfulness",
    better="higher",
    low=-1,
    high=1,
    source="Bhatt et al. 2020, arXiv:2005.00631; on a grid as in Xplique",
    presets={"bhatt-2020": {"cells": None, "correlation": "pearson"}},
)
def mu_fidelity(
    maps: np.ndarray,
    model: Model,
    x: Array,
    target: Target,
    probability: Target | None,
    *,
    samples: Count = 200,
    cells: Count | None = 9,
    share: float = 0.2,
    fill: Array = "mean",
    correlation: Literal["spearman", "pearson"] = "spearman",
    scored: Scored = "logit",
    random_state: int = 0,
) -> np.ndarray:
    """Correlation, over random subsets of the image, of a subset's summed map with the fall of the score without it.

    Each of `samples` subsets has exactly the `share` of a grid of `cells` x `cells`, or of the pixels where `cells` is
    none, which is the faithfulness correlation. The same subsets for every image. "bhatt-2020" sets
    the definition's pixels and correlation; `share` and `samples` are not given by it. NaN where all sums or all falls are
    equal. Subsets of many cells say little of any one of them, and single pixels change next to no score.
    """
    check_share("share", share)
    asked = scored_as(scored, target, probability)
    size = maps.shape[1:]
    grid = size if cells is None else (min(cells, size[0]), min(cells, size[1]))

    def removed(k: int) -> np.ndarray:
        count = grid[0] * grid[1]
        picked = np.random.default_rng([random_state, k]).permutation(count) < max(1, round(share * count))
        return np.asarray(blocks(picked.reshape(grid), size, maps) > 0)

    def kept(some: list[int]) -> np.ndarray:
        return ~np.stack([removed(k) for k in some])[:, None]

    left = scores(model, x, asked, fill, range(samples), kept)[0]
    whole = to_numpy(model.run(x, target=asked).score)[0].astype(np.float64)
    sums = np.stack([maps[:, removed(k)].sum(axis=1) for k in range(samples)])
    return np.array([_correlation(*pair, correlation) for pair in zip(sums.T, (whole - left).T)])


def _correlation(a: np.ndarray, b: np.ndarray, kind: str) -> float:
    """NaN where either is the same throughout."""
    from scipy.stats import rankdata

    if any(np.ptp(each) <= _ALIKE * np.abs(each).max() for each in (a, b)):
        return float("nan")
    a, b = (rankdata(each) if kind == "spearman" else each for each in (a, b))
    return float(np.corrcoef(a, b)[0, 1])
