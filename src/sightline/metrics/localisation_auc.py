"""Area under the ROC curve of a map against a mask."""

from __future__ import annotations

import numpy as np

from sightline.metric import metric
from sightline.metrics._places import only_where


@metric(
    family="localisation",
    better="higher",
    low=0,
    high=1,
    source="Fawcett 2006, doi:10.1016/j.patrec.2005.10.010; as the statistic of Mann and Whitney",
)
def localisation_auc(maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """How often a pixel of the mask has a higher value than one outside of it.

    It is the area under the ROC curve over all thresholds; a tie counts half, so that a map that is the same everywhere
    gets 0.5. NaN for a mask that is empty, or the whole picture.
    """
    inside = masks.sum(axis=(1, 2))
    outside = masks[0].size - inside
    wins = np.array([_ranks(m)[mask.ravel()].sum() for m, mask in zip(maps, masks)]) - inside * (inside + 1) / 2
    return only_where((inside > 0) & (outside > 0), wins / np.maximum(inside * outside, 1))


def _ranks(values: np.ndarray) -> np.ndarray:
    from scipy.stats import rankdata

    return np.asarray(rankdata(values.ravel()))
