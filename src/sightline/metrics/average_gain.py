"""Average gain."""

from __future__ import annotations

import numpy as np

from sightline.arrays import Array
from sightline.metric import Ties, metric
from sightline.metrics._masked import PRESETS, Masking, before_and_after, kept
from sightline.metrics._removal import probability_of
from sightline.model import Model, Target


@metric(
    family="faithfulness",
    better="higher",
    low=0,
    high=1,
    source="Zhang et al. 2023 (Opti-CAM), arXiv:2301.07002",
    presets=PRESETS,
)
def average_gain(
    maps: np.ndarray,
    model: Model,
    x: Array,
    probability: Target | None,
    *,
    masking: Masking = "multiplied",
    fill: Array = 0,
    ties: Ties = "shuffled",
    random_state: int = 0,
) -> np.ndarray:
    """How much of what was missing to certainty is gained when only what the map marks is shown, 0 where it falls.

    Masking as in average-drop, whose counterpart it is. NaN for a map without positive values (multiplied), and for a
    probability of 1, which cannot rise. Near certainty it divides by next to nothing.
    """
    asked = probability_of("average-gain", probability)
    whole, left = before_and_after(model, x, asked, fill, kept(maps, masking, ties, random_state))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(whole < 1, np.maximum(left - whole, 0) / (1 - whole), np.nan)
