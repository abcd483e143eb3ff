"""Insertion."""

from __future__ import annotations

import numpy as np

from sightline.arrays import Array
from sightline.method import Count
from sightline.metric import Curves, Scored, Ties, metric
from sightline.metrics._removal import area, counts_of, curve, ranked, scored_as
from sightline.model import Model, Target


@metric(
    family="faithfulness",
    better="higher",
    source="Petsiuk et al. 2018 (RISE), section 4.1, arXiv:1806.07421",
)
def insertion(
    maps: np.ndarray,
    model: Model,
    x: Array,
    target: Target,
    probability: Target | None,
    *,
    steps: Count = 50,
    fill: Array = "blurred",
    scored: Scored = "probability",
    ties: Ties = "shuffled",
    random_state: int = 0,
) -> tuple[np.ndarray, Curves]:
    """Mean score while pixels are put back, the most relevant first: a faithful map makes it rise early.

    It begins with `fill` alone, and puts all channels of a pixel back together, in `steps` equal steps until the image is
    whole; the area under the curve is by trapezoids over the share of pixels, 0 to 1 for probabilities. Curve:
    "insertion" (n, steps + 1).
    """
    asked = scored_as(scored, target, probability)
    ranks = ranked(maps, ties, random_state)
    scores = curve(model, x, asked, fill, ranks, counts_of(maps[0].size, steps), insert=True)
    return area(scores), {"insertion": scores}
