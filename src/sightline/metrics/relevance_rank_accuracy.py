"""Relevance rank accuracy."""

from __future__ import annotations

import numpy as np

from sightline.metric import metric
from sightline.metrics._places import share_of_first


@metric(
    family="localisation",
    better="higher",
    low=0,
    high=1,
    source="Arras et al. 2022 (CLEVR-XAI), arXiv:2003.07258",
)
def relevance_rank_accuracy(maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Share of the map's K highest pixels that lie inside the mask, which has K pixels.

    Pixels that tie for the last places count by their share, so that a map that is the same everywhere gets the mask's
    share of the picture. NaN for an empty mask.
    """
    return share_of_first(maps, masks.sum(axis=(1, 2)), masks)
