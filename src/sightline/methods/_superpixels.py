"""Superpixels: each image by itself in regions of one look, found on the host."""

from __future__ import annotations

from typing import Literal

import numpy as np

from sightline.arrays import Array, to_numpy

Segmentation = Literal["slic", "felzenszwalb"]


def superpixels(x: Array, channel: int, kind: Segmentation, count: int) -> np.ndarray:
    """Regions (n, height, width), numbered from 0 in each image.

    "slic": about `count` of about one size (Achanta et al. 2012). "felzenszwalb": at most `count`, of any size
    (Felzenszwalb and Huttenlocher 2004). Each image is scaled to 0..1 by its own values.
    """
    find = {"slic": _slic, "felzenszwalb": _felzenszwalb}[kind]
    found = [
        np.unique(find(image, count), return_inverse=True)[1].reshape(image.shape[:2]) for image in unit(x, channel)
    ]
    return np.stack(found)


def unit(x: Array, channel: int) -> np.ndarray:
    """The images (n, height, width, channels) on the host in float64, each scaled to 0..1; a plain one is 0."""
    images = np.moveaxis(to_numpy(x), channel, -1).astype(np.float64)
    low, high = (f(images, axis=(1, 2, 3), keepdims=True) for f in (np.min, np.max))
    return np.asarray((images - low) / np.where(high > low, high - low, 1))


def _slic(image: np.ndarray, count: int) -> np.ndarray:
    from skimage.segmentation import slic

    return np.asarray(slic(image, n_segments=count, compactness=10, sigma=1, start_label=0, channel_axis=-1))


def _felzenszwalb(image: np.ndarray, count: int) -> np.ndarray:
    from skimage.segmentation import felzenszwalb

    least = max(1, -(-image.shape[0] * image.shape[1] // count))  # pixels of a region
    return np.asarray(felzenszwalb(image, scale=100, sigma=0.5, min_size=least, channel_axis=-1))


def sizes(labels: np.ndarray) -> list[int]:
    """How many regions each image has."""
    return [int(own.max()) + 1 for own in labels]
