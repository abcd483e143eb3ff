"""Completeness."""

from __future__ import annotations

import numpy as np

from sightline.arrays import Array
from sightline.hiding import ends
from sightline.metric import metric
from sightline.model import Model, Target


@metric(
    family="faithfulness",
    better="lower",
    low=0,
    source="Sundararajan et al. 2017, section 3, arXiv:1703.01365",
)
def completeness(
    attribution: np.ndarray, model: Model, x: Array, target: Target, *, fill: Array = "black"
) -> np.ndarray:
    """How far the attribution's sum misses the change of the score from `fill` to the image, in shares of that change.

    0 where every part of the score is given to some pixel, 1 for a map of zeros. `fill` must be the method's own
    baseline. NaN where the score does not change. It says nothing of methods that do not claim it (class activation maps,
    plain gradients), nor of where the parts went: all of it on one wrong pixel is complete.
    """
    whole, none = (score[0] for score in ends(model, x, target, fill))
    change = whole - none
    total = attribution.reshape(len(attribution), -1).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(change == 0, np.nan, np.abs(total - change) / np.abs(change))
