"""Max-sensitivity."""

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
    source="Yeh et al. 2019, section 4, arXiv:1901.09392",
)
def max_sensitivity(
    maps: np.ndarray,
    x: Array,
    again: Callable[..., np.ndarray],
    *,
    radius: Size = 0.02,
    samples: Count = 10,
    random_state: int = 0,
) -> np.ndarray:
    """How far the map of a barely changed image lies from the image's own, at the most, in shares of its norm.

    Each of `samples` images has uniform noise of up to `radius` added, in the model's input units; the same class is
    explained. NaN for a map that is zero everywhere. A map that never changes, such as an edge detector's, has 0.
    """
    return np.asarray(changes(maps, x, again, radius, samples, random_state).max(axis=0))
