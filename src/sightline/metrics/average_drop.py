"""Average drop."""

from __future__ import annotations

import numpy as np

from sightline.arrays import Array
from sightline.metric import Ties, metric
from sightline.metrics._masked import PRESETS, Masking, before_and_after, drop, kept
from sightline.metrics._removal import probability_of
from sightline.model import Model, Target


@metric(
    family="faithfulness",
    better="lower",
    low=0,
    high=1,
    source="Chattopadhay et al. 2018, arXiv:1710.11063; top-half: Wang et al. 2020, arXiv:1910.01279",
    presets=PRESETS,
)
def average_drop(
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
    """How much of the probability is lost when only what the map marks is shown, 0 where it rises.

    In shares of the whole image's probability, as the papers define it. "multiplied" dims the image by the positive part of
    the map over its maximum, "top-half" shows the half of the pixels with the highest values; the rest is `fill`
    (whether the papers' zero is one of the picture or of the model's input is not known here). NaN for
    a map without positive values (multiplied), and for a probability of 0. A map that marks everything loses nothing:
    read it with a measure of how much the map marks, as adcc does.
    """
    asked = probability_of("average-drop", probability)
    whole, left = before_and_after(model, x, asked, fill, kept(maps, masking, ties, random_state))
    return drop(whole, left)
