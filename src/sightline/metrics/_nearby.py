"""What the metrics of robustness share: maps of images nearby."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sightline.arrays import Array, like


def noise_like(x: Array, radius: float, random_state: int, k: int) -> Array:
    """Draw number `k` of uniform noise up to `radius`, the same for every image: no image's noise hangs on its batch."""
    draw = np.random.default_rng([random_state, k]).uniform(-radius, radius, tuple(x.shape[1:]))
    return like(draw[None], x)


def distances(
    maps: np.ndarray, x: Array, again: Callable[..., np.ndarray], radius: float, samples: int, random_state: int
) -> np.ndarray:
    """Euclidean distance of each changed image's map from the image's own: (samples, n)."""
    found = (again(x + noise_like(x, radius, random_state, k)) - maps for k in range(samples))
    return np.stack([np.sqrt((each**2).sum(axis=(1, 2))) for each in found])


def changes(
    maps: np.ndarray, x: Array, again: Callable[..., np.ndarray], radius: float, samples: int, random_state: int
) -> np.ndarray:
    """The distances in shares of the norm of the image's own map, (samples, n); NaN where that is zero everywhere."""
    norm = np.sqrt((maps**2).sum(axis=(1, 2)))
    return distances(maps, x, again, radius, samples, random_state) / np.where(norm > 0, norm, np.nan)
