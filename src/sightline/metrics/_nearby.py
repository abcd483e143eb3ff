"""What the metrics of robustness share: maps of images nearby."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sightline.arrays import Array, like


def noise_like(x: Array, radius: float, random_state: int, k: int) -> Array:
    """Draw number `k` of uniform noise up to `radius`, the same for every image: no image's noise hangs on its batch."""
    draw = np.random.default_rng([random_state, k]).uniform(-radius, radius, tuple(x.shape[1:]))
    return like(draw[None], x)


def changes(
    maps: np.ndarray, x: Array, again: Callable[..., np.ndarray], radius: float, samples: int, random_state: int
) -> np.ndarray:
    """Distance of each changed image's map from the image's own, in shares of its norm: (samples, n)."""
    flat = maps.reshape(len(maps), -1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.stack(
            [
                np.linalg.norm((again(x + noise_like(x, radius, random_state, k)) - maps).reshape(flat.shape), axis=1)
                / np.linalg.norm(flat, axis=1)
                for k in range(samples)
            ]
        )
