"""Deletion."""

from __future__ import annotations

import numpy as np

from sightline.arrays import Array
from sightline.method import Count
from sightline.metric import Curves, Scored, Ties, metric
from sightline.metrics._removal import area, counts_of, curve, ranked, scored_as
from sightline.model import Model, Target


@metric(
    family="faithfulness",
    better="lower",
    source="Petsiuk et al. 2018 (RISE), section 4.1, arXiv:1806.07421",
    presets={
        "rise-2018": {"steps": 224, "fill": 0, "scored": "probability", "ties": "last"},
        "rise-2018-dataset": {"steps": 28, "fill": 0, "scored": "probability", "ties": "last"},
        "score-cam-2020": {"steps": 100, "fill": 0, "scored": "probability"},
    },
)
def deletion(
    maps: np.ndarray,
    model: Model,
    x: Array,
    target: Target,
    probability: Target | None,
    *,
    steps: Count = 50,
    fill: Array = "mean",
    scored: Scored = "probability",
    ties: Ties = "shuffled",
    random_state: int = 0,
) -> tuple[np.ndarray, Curves]:
    """Mean score while pixels are removed, the most relevant first: a faithful map makes it fall early.

    All channels of a pixel go together, in `steps` equal steps until nothing is left; the area under the curve is by
    trapezoids over the share of pixels, 0 to 1 for probabilities. Curve: "deletion" (n, steps + 1). What fills the holes
    is new to the model, so that a fall can also mean that: compare random maps, and another `fill`. The published
    steps are those of pictures of 224 x 224: 224 pixels each, or 8 times as many. Score-CAM's are of 1% of the pixels;
    whether its zero is one of the picture or of the model's input, and how ties fall, is not said: here the latter.
    """
    asked = scored_as(scored, target, probability)
    ranks = ranked(maps, ties, random_state)
    scores = curve(model, x, asked, fill, ranks, counts_of(maps[0].size, steps))
    return area(scores), {"deletion": scores}
