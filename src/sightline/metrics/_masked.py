"""What the metrics share that show the model the map's own part of the image."""

from __future__ import annotations

from typing import Literal

import numpy as np

from sightline.arrays import Array, like, to_numpy
from sightline.hiding import blend
from sightline.metric import Ties
from sightline.metrics._removal import ranked
from sightline.model import Model, Target

Masking = Literal["multiplied", "top-half"]
"""The image times the map's positive part over its maximum; or the half of the pixels with the highest values."""
PRESETS = {
    "grad-cam++-2018": {"masking": "multiplied", "fill": 0},
    "score-cam-2020": {"masking": "top-half", "fill": 0},
}


def normalised(maps: np.ndarray) -> np.ndarray:
    """The positive part of maps (n, h, w) over its maximum, 0 to 1; NaN for a map without positive values."""
    positive = np.maximum(maps, 0)
    highest = positive.max(axis=(1, 2), keepdims=True)
    return np.where(highest > 0, positive / np.where(highest > 0, highest, 1), np.nan)


def kept(maps: np.ndarray, masking: Masking, ties: Ties, random_state: int) -> np.ndarray:
    """How much of each pixel stays, (n, h, w); NaN for a map that keeps nothing."""
    if masking == "multiplied":
        return normalised(maps)
    return np.asarray(ranked(maps, ties, random_state) < (maps[0].size + 1) // 2, np.float64)


def masked(model: Model, x: Array, fill: Array, shares: np.ndarray) -> Array:
    """The images with `fill` where a share (n, h, w) is 0; the images themselves where it is NaN."""
    return blend(model, x, fill, like(np.where(np.isnan(shares), 1, shares), x))


def before_and_after(
    model: Model, x: Array, probability: Target, fill: Array, shares: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (n,) of the images, and of what is kept of them; the latter NaN where nothing is."""
    whole, left = (
        to_numpy(model.run(images, target=probability).score)[0].astype(np.float64)
        for images in (x, masked(model, x, fill, shares))
    )
    return whole, np.where(np.isnan(shares).any(axis=(1, 2)), np.nan, left)


def drop(whole: np.ndarray, left: np.ndarray) -> np.ndarray:
    """The fall (n,) in shares of the first probability, 0 where it rises; NaN where that is 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(whole > 0, np.maximum(whole - left, 0) / whole, np.nan)
