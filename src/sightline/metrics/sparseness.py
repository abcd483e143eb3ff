"""Sparseness."""

from __future__ import annotations

import numpy as np

from sightline.metric import metric


@metric(
    family="complexity",
    better="higher",
    low=0,
    high=1,
    source="Chalasani et al. 2020, section 3 (Gini index of Hurley and Rickard 2009), arXiv:1810.06583",
)
def sparseness(maps: np.ndarray) -> np.ndarray:
    """Gini index of the map's absolute values: 0 where all pixels have the same, near 1 where one has all.

    NaN for a map that is zero everywhere. A sparse map is easier to read; it need not be right.
    """
    flat = np.sort(np.abs(maps.reshape(len(maps), -1)), axis=1)
    count, total = flat.shape[1], flat.sum(axis=1)
    ranks = (2 * np.arange(1, count + 1) - count - 1) / count
    with np.errstate(invalid="ignore"):
        return np.asarray(flat @ ranks / total)
