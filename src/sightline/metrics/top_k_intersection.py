"""Top-k intersection."""

from __future__ import annotations

import numpy as np

from sightline.method import Count
from sightline.metric import metric
from sightline.metrics._places import has_object, only_where, share_of_first


@metric(
    family="localisation",
    better="higher",
    low=0,
    high=1,
    source="Theiner et al. 2022, arXiv:2104.14995",
)
def top_k_intersection(maps: np.ndarray, masks: np.ndarray, *, k: Count = 1000) -> np.ndarray:
    """Share of the map's `k` highest pixels that lie inside the mask.

    Of a mask of fewer than `k` pixels it cannot reach 1; of a picture of fewer, all pixels are taken. Pixels that tie for
    the last places count by their share. NaN for an empty mask.
    """
    counts = np.full(len(maps), min(k, maps[0].size))
    return only_where(has_object(masks), share_of_first(maps, counts, masks))
