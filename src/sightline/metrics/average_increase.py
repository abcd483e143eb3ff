"""Average increase."""

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
    source="Chattopadhay et al. 2018, arXiv:1710.11063; top-half: Wang et al. 2020, arXiv:1910.01279",
    presets=PRESETS,
)
def average_increase(
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
    """Whether the probability is higher when only what the map marks is shown, 1 or 0; the mean is the share of images.

    Masking as in average-drop. NaN for a map without positive values (multiplied). One bit an image: hundreds of images
    are needed to tell two methods apart, and an image of which the model is sure cannot rise.
    """
    asked = probability_of("average-increase", probability)
    whole, left = before_and_after(model, x, asked, fill, kept(maps, masking, ties, random_state))
    return np.where(np.isnan(left), np.nan, left > whole)
