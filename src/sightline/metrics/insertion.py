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
    presets={
        "rise-2018": {"steps": 224, "fill": "blurred-11x11", "scored": "probability", "ties": "last"},
        "rise-2018-dataset": {"steps": 28, "fill": "blurred-11x11", "scored": "probability", "ties": "last"},
        "score-cam-2020": {"steps": 100, "fill": 0, "scored": "probability"},
    },
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
    "insertion" (n, steps + 1). The published steps are those of pictures of 224 x 224. Score-CAM's are of 1% of the pixels;
    what it begins with is not said beyond "zero or one": here the zero of the model's input. A start that is blurred
    little still shows the class, and lifts every map.
    """
    asked = scored_as(scored, target, probability)
    ranks = ranked(maps, ties, random_state)
    scores = curve(model, x, asked, fill, ranks, counts_of(maps[0].size, steps), insert=True)
    return area(scores), {"insertion": scores}
