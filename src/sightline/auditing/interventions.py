"""What the model answers when what matters is painted over, and when as much is painted over elsewhere."""

from __future__ import annotations

import numpy as np

_GROW = 2.0  # by which the blur widens until every hole is filled


def painted_over(images: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Images (n, h, w, c) with what the masks (n, h, w) cover replaced by the colours around it, smoothly.

    A hole takes the mean of what lies around it by a Gaussian, which widens until it reaches every pixel.
    """
    return np.stack([_painted(image, mask) for image, mask in zip(images, masks)])


def _painted(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    if mask.all() or not mask.any():
        mean = image.mean(axis=(0, 1), keepdims=True)
        return np.where(mask[..., None], mean, image).astype(image.dtype)
    found, left, sigma = image.astype(np.float64), mask.copy(), 1.0
    known = (~mask).astype(np.float64)
    while left.any():
        weight = gaussian_filter(known, sigma)
        blurred = gaussian_filter(image * known[..., None], (sigma, sigma, 0))
        near = left & (weight > 1e-3)
        found[near] = blurred[near] / weight[near][:, None]
        left &= ~near
        sigma *= _GROW
    return found.astype(image.dtype)


def elsewhere(masks: np.ndarray, random_state: int) -> np.ndarray:
    """Each mask moved round the picture to where it covers the least of itself: as much is hidden, in another place.

    The best of 32 draws, which are the same for every image.
    """
    height, width = masks.shape[1:]
    shifts = np.random.default_rng(random_state).integers((height, width), size=(32, 2))
    moved = [np.stack([np.roll(mask, tuple(shift), axis=(0, 1)) for shift in shifts]) for mask in masks]
    best = [int(np.argmin((each & mask).sum(axis=(1, 2)))) for each, mask in zip(moved, masks)]
    return np.stack([each[i] for each, i in zip(moved, best)])
