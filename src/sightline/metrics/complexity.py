"""Complexity."""

from __future__ import annotations

import numpy as np

from sightline.metric import metric


@metric(
    family="complexity",
    better="lower",
    low=0,
    source="Bhatt et al. 2020, arXiv:2005.00631",
)
def complexity(maps: np.ndarray) -> np.ndarray:
    """Entropy in nats of the map's absolute values, as shares of their sum: 0 where one pixel has all.

    At the most it is the logarithm of the number of pixels, where all have the same: compare maps of one size. NaN for a
    map that is zero everywhere. A simple map is easier to read; it need not be right.
    """
    flat = np.abs(maps.reshape(len(maps), -1))
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = flat / flat.sum(axis=1, keepdims=True)
        terms = np.where(shares == 0, 0, shares * np.log(shares))
    return np.asarray(-terms.sum(axis=1) + 0.0)
