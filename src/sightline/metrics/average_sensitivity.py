"""Average sensitivity."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sightline.arrays import Array
from sightline.method import Count, Size
from sightline.metric import metric
from sightline.metrics._nearby import changes


@metric(
    family="robustness",
    better="lower",
    low=0,
    source="Bhatt et al. 2020, arXiv:2005.00631; distance and radius of Yeh et al. 2019, arXiv:1901.09392",
)
def average_sensitivity(
    maps: np.ndarray,
    x: Array,
    again: Callable[..., np.ndarray],
    *,
    radius: Size = 0.02,
    samples: Count = 10,
    random_state: int = 0,
) -> np.ndarray:
    """How far the map of a barely changed image lies from the image's own, in the mean, in shares of its norm.

    As max-sensitivity, of the same draws.
    """
    return np.asarray(changes(maps, x, again, radius, samples, random_state).mean(axis=0))
