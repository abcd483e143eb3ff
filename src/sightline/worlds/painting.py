"""Small tools for drawing pictures that come out the same at any size: every value is a mean over the pixel."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def pixel_centres(size: int) -> Array:
    """Where `size` pixels lie on the picture, whose sides run from -1 to 1."""
    return (np.arange(size) + 0.5) * (2 / size) - 1


def noise(rng: np.random.Generator, size: int, cells: int) -> Array:
    """Smooth noise of shape (size, size) from a lattice of `cells` by `cells` normal draws, whatever the size.

    Finer pixels than cells see it smooth, coarser pixels see its mean.
    """
    weights = _lattice_weights(size, cells)
    return np.asarray(weights @ rng.standard_normal((cells, cells)) @ weights.T)


@lru_cache(64)
def _lattice_weights(size: int, cells: int) -> Array:
    width = np.hypot(1.2 / cells, 0.6 / size)
    away = (pixel_centres(size)[:, None] - pixel_centres(cells)[None, :]) / width
    weights = np.exp(-0.5 * away**2)
    return np.asarray(weights / weights.sum(1, keepdims=True))


def mean_over_pixel(at: Array, profile: Array, where: Array, half: Array) -> Array:
    """The mean of a sampled `profile` (values at the evenly spaced `at`) over the intervals `where` ± `half`."""
    steps = 0.5 * (profile[1:] + profile[:-1]) * (at[1] - at[0])
    integral = np.concatenate([[0.0], np.cumsum(steps)])
    return np.asarray((np.interp(where + half, at, integral) - np.interp(where - half, at, integral)) / (2 * half))


def waves(angles: Array, amplitudes: tuple[float, ...], phases: tuple[float, ...], first: int) -> Array:
    """A sum of cosines around the circle, beginning with `first` of them in a turn."""
    orders = np.arange(first, first + len(amplitudes))
    return np.asarray(np.cos(angles[..., None] * orders + np.array(phases)) @ np.array(amplitudes))
