"""What the performance information curves share: how much of the image is told, in bytes, and what the model says."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Literal

import numpy as np

from sightline.arrays import Array, like, namespace
from sightline.hiding import blend, scores_of
from sightline.metric import Ties
from sightline.metrics._removal import area, ranked
from sightline.model import Model, Target

Compression = Literal["webp", "png"]
SHARES = (0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.07, 0.1, 0.13, 0.21, 0.34, 0.5, 0.75)  # of the pixels: PAIR's example
_POINTS = np.linspace(0, 1, 101)  # of the information, at which a curve is told


def information_curves(
    maps: np.ndarray,
    model: Model,
    x: Array,
    asked: Target,
    pixels: Callable[[Array], np.ndarray],
    fill: Array,
    compression: Compression,
    ties: Ties,
    random_state: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Areas (n,) and curves (n, 101), both NaN where `fill` holds as much information or score as the image."""
    ranks = ranked(maps, ties, random_state)
    counts = np.rint(np.array([0, *SHARES, 1]) * maps[0].size).astype(np.int64)
    told: list[np.ndarray] = []

    def revealed(some: list[int]) -> Array:
        shown = np.asarray(ranks[None] < counts[some].reshape(-1, 1, 1, 1), np.float64)
        images = blend(model, x, fill, like(shown, x))
        flat = pixels(namespace(images).reshape(images, (-1, *x.shape[1:])))
        told.append(np.reshape([size_in_bytes(each, compression) for each in flat], (len(some), -1)))
        return images

    scores = scores_of(model, x, asked, range(len(counts)), revealed)[0].T
    curves = np.stack([_curve(*each) for each in zip(np.concatenate(told).T.astype(np.float64), scores)])
    return area(curves), curves


def size_in_bytes(picture: np.ndarray, compression: Compression) -> int:
    """What a picture (h, w, c) of uint8 takes, without loss."""
    from PIL import Image

    height, width, channels = picture.shape
    image = Image.fromarray(picture if channels == 3 else picture.reshape(height, width * channels))
    buffer = io.BytesIO()
    image.save(buffer, format=compression, **({"lossless": True} if compression == "webp" else {}))
    return buffer.getbuffer().nbytes


def _curve(told: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """The highest score so far over the information, both 0 for `fill` alone and 1 for the whole image."""
    if told[-1] <= told[0] or scores[-1] <= scores[0]:
        return np.full(len(_POINTS), np.nan)
    at, height = (np.clip((a - a[0]) / (a[-1] - a[0]), 0, 1) for a in (told, scores))
    order = np.argsort(at, kind="stable")
    return np.interp(_POINTS, at[order], np.maximum.accumulate(height)[order])
