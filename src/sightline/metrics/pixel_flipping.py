"""Pixel-flipping."""

from __future__ import annotations

import numpy as np

from sightline.arrays import Array
from sightline.method import Count
from sightline.metric import Curves, Scored, Ties, metric
from sightline.metrics._removal import area_over, counts_of, curve, ranked, scored_as
from sightline.model import Model, Target


@metric(
    family="faithfulness",
    better="higher",
    source="Bach et al. 2015, doi:10.1371/journal.pone.0130140; area over the curve of Samek et al. 2017, arXiv:1509.06321",
)
def pixel_flipping(
    maps: np.ndarray,
    model: Model,
    x: Array,
    target: Target,
    probability: Target | None,
    *,
    steps: Count = 50,
    fill: Array = "mean",
    scored: Scored = "logit",
    ties: Ties = "shuffled",
    random_state: int = 0,
) -> tuple[np.ndarray, Curves]:
    """Mean fall of the score while pixels are removed, the most relevant first, in shares of the whole image's score.

    As deletion, but read from the first score downwards, so that images of different scores compare: 1 where the score
    is gone at once, 0 where it stays, more than 1 where it falls below 0. It does not depend on the number of steps but
    for the trapezoids' error. NaN for a first score of 0; a first score near 0 makes it huge. It shares deletion's
    weakness: holes are new to the model. Curve: "pixel-flipping" (n, steps + 1).
    """
    asked = scored_as(scored, target, probability)
    ranks = ranked(maps, ties, random_state)
    scores = curve(model, x, asked, fill, ranks, counts_of(maps[0].size, steps))
    return area_over(scores), {"pixel-flipping": scores}
