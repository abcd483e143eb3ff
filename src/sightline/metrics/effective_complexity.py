"""Effective complexity."""

from __future__ import annotations

import numpy as np

from sightline.arrays import Array
from sightline.method import Count, Size
from sightline.metric import Curves, Scored, Ties, metric
from sightline.metrics._removal import counts_of, curve, ranked, scored_as
from sightline.model import Model, Target


@metric(
    family="complexity",
    better="lower",
    low=0,
    high=1,
    source="Nguyen and Martínez 2020, arXiv:2007.07584",
)
def effective_complexity(
    maps: np.ndarray,
    model: Model,
    x: Array,
    target: Target,
    probability: Target | None,
    *,
    tolerance: Size = 0.1,
    steps: Count = 50,
    fill: Array = "mean",
    scored: Scored = "probability",
    ties: Ties = "shuffled",
    random_state: int = 0,
) -> tuple[np.ndarray, Curves]:
    """The least share of the pixels that are enough: with these alone the score is what it was, but for `tolerance`.

    Pixels are put back onto `fill` in the order of their absolute values, in `steps` equal steps; the first at which the
    score is within `tolerance` of the whole image's, in its own units, counts. The paper takes the mean over what else
    could stand in the other pixels, here it is one `fill`. Curve: "kept" (n, steps + 1).
    """
    asked = scored_as(scored, target, probability)
    counts = counts_of(maps[0].size, steps)
    kept = curve(model, x, asked, fill, ranked(np.abs(maps), ties, random_state), counts, insert=True)
    enough = np.abs(kept - kept[:, -1:]) <= tolerance
    return counts[enough.argmax(axis=1)] / maps[0].size, {"kept": kept}
