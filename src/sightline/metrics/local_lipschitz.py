"""Local Lipschitz estimate."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sightline.arrays import Array, to_numpy
from sightline.method import Count, Size
from sightline.metric import metric
from sightline.metrics._nearby import distances, noise_like


@metric(
    family="robustness",
    better="lower",
    low=0,
    source="Alvarez-Melis and Jaakkola 2018, arXiv:1806.08049",
)
def local_lipschitz(
    maps: np.ndarray,
    x: Array,
    again: Callable[..., np.ndarray],
    *,
    radius: Size = 0.02,
    samples: Count = 10,
    random_state: int = 0,
) -> np.ndarray:
    """How much the map changes for each unit by which the image does, at the most.

    Distances are Euclidean, over `samples` images with uniform noise of up to `radius` in the model's input units: the
    largest found is less than the largest there is. It has the map's own units, so that methods whose maps have other
    units cannot be compared by it; max-sensitivity has none.
    """
    moved = [
        np.linalg.norm(to_numpy(noise_like(x, radius, random_state, k)).astype(np.float64)) for k in range(samples)
    ]
    with np.errstate(invalid="ignore", divide="ignore"):
        steep = distances(maps, x, again, radius, samples, random_state) / np.array(moved)[:, None]
    return np.asarray(steep.max(axis=0))
