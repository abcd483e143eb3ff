"""Gaussian noise at the image, as a share of its range of values."""

from __future__ import annotations

from collections.abc import Callable

from sightline.arrays import Array, namespace, normal


def noisy_copies(x: Array, noise: float, random_state: int) -> Callable[[list[int]], Array]:
    """What makes copies (m, n, ...) of the images `x` out of the numbers of m draws."""
    xp, spread = namespace(x), deviation(x, noise)

    def copies(draws: list[int]) -> Array:
        return x + spread * xp.stack([normal(x, random_state, k) for k in draws], axis=0)[:, None, ...]

    return copies


def deviation(x: Array, noise: float) -> Array:
    """`noise` as a share of each image's range of values: a standard deviation (n, 1, ...)."""
    xp, axes = namespace(x), tuple(range(1, x.ndim))
    return noise * (xp.max(x, axis=axes, keepdims=True) - xp.min(x, axis=axes, keepdims=True))
