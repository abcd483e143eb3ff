"""Region perturbation."""

from __future__ import annotations

import numpy as np

from sightline.arrays import Array
from sightline.method import Count
from sightline.metric import Curves, Scored, Ties, metric
from sightline.metrics._removal import curve, ranked_regions, scored_as
from sightline.model import Model, Target


@metric(
    family="faithfulness",
    better="higher",
    source="Samek et al. 2017, arXiv:1509.06321",
    presets={"samek-2017": {"side": 9, "steps": 100, "fill": "noise"}},
)
def region_perturbation(
    maps: np.ndarray,
    model: Model,
    x: Array,
    target: Target,
    probability: Target | None,
    *,
    side: Count = 9,
    steps: Count = 100,
    fill: Array = "noise",
    scored: Scored = "logit",
    ties: Ties = "shuffled",
    random_state: int = 0,
) -> tuple[np.ndarray, Curves]:
    """AOPC: mean fall of the score while squares are replaced one after the other, those of the largest sum first.

    The squares of `side` pixels do not overlap; those at the right and the lower edge are cut. The mean is over the
    whole image and the first `steps` of them, in units of the score, so that only equal `side` and `steps` compare. The
    noise is one draw, the same for every image (the paper's mean is over several). Noise and edges of squares are
    evidence of their own. Curve: "region-perturbation" (n, steps + 1).
    """
    asked = scored_as(scored, target, probability)
    squares = squares_of(maps.shape[1:], side)
    ranks = ranked_regions(maps, [squares] * len(maps), ties, random_state, mean=False)
    scores = curve(model, x, asked, fill, ranks, np.arange(min(steps, int(squares.max()) + 1) + 1))
    return (scores[:, :1] - scores).mean(axis=1), {"region-perturbation": scores}


def squares_of(size: tuple[int, ...], side: int) -> np.ndarray:
    """The number of each pixel's square, (h, w), in rows from the upper left corner."""
    rows, columns = (np.arange(length) // side for length in size)
    return np.asarray(rows[:, None] * (columns[-1] + 1) + columns)
