"""Energy-based pointing game."""

from __future__ import annotations

import numpy as np

from sightline.metric import metric


@metric(
    family="localisation",
    better="higher",
    low=0,
    high=1,
    source="Wang et al. 2020 (Score-CAM), section 4.3, arXiv:1910.01279; as relevance mass accuracy on a mask: "
    "Arras et al. 2022 (CLEVR-XAI), arXiv:2003.07258",
    also="relevance-mass-accuracy",
)
def energy_pointing_game(maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Share of the map's positive values that lies inside the mask.

    A map that is the same everywhere gets the mask's share of the picture. NaN for a map without positive values, and
    for an empty mask.
    """
    energy = np.maximum(maps, 0)
    inside, whole = (energy * masks).sum(axis=(1, 2)), energy.sum(axis=(1, 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(masks.any(axis=(1, 2)), inside / whole, np.nan)
