"""IROF."""

from __future__ import annotations

import numpy as np

from sightline.arrays import Array
from sightline.method import Count
from sightline.methods._superpixels import sizes, superpixels
from sightline.metric import Curves, Scored, Ties, metric
from sightline.metrics._removal import area_over, curve, ranked_regions, scored_as
from sightline.model import Model, Target

_SHARES = np.linspace(0, 1, 101)  # of the segments, at which the curve is told


@metric(
    family="faithfulness",
    better="higher",
    source="Rieger and Hansen 2020, arXiv:2003.08747",
)
def irof(
    maps: np.ndarray,
    model: Model,
    x: Array,
    target: Target,
    probability: Target | None,
    *,
    segments: Count = 100,
    fill: Array = "mean",
    scored: Scored = "probability",
    ties: Ties = "shuffled",
    random_state: int = 0,
) -> tuple[np.ndarray, Curves]:
    """Mean fall of the score while SLIC's segments are removed one by one, those of the highest mean first.

    About `segments` in each image, found by itself; in shares of the whole image's score, 1 where it is gone at once, so
    that 0 to 1 is usual for probabilities. NaN for a first score of 0. A segment counts the same whatever its size, and a
    map finer than the segments gains nothing by it. Curve: "irof" (n, 101), the score over the share of the segments.
    """
    asked = scored_as(scored, target, probability)
    labels = superpixels(x, model.channel, "slic", segments)
    ranks = ranked_regions(maps, labels, ties, random_state, mean=True)
    counts = sizes(labels)
    scores = curve(model, x, asked, fill, ranks, np.arange(max(counts) + 1))
    own = [each[: count + 1] for each, count in zip(scores, counts)]  # an image with fewer is done before the others
    told = [np.interp(_SHARES, np.linspace(0, 1, len(each)), each) for each in own]
    return np.concatenate([area_over(each[None]) for each in own]), {"irof": np.stack(told)}
