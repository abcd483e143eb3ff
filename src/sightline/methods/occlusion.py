"""Occlusion."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sightline.arrays import Array, like, namespace
from sightline.method import Count, method
from sightline.model import Model, Target
from sightline.stream import stream

Window = tuple[slice, slice]


@method(family="perturbation", cost="1 F + 1 F a window", source="Zeiler and Fergus 2014, section 4.2, arXiv:1311.2901")
def occlusion(
    model: Model,
    x: Array,
    target: Target,
    *,
    baseline: Array = "black",
    window: Count | None = None,
    stride: Count | None = None,
) -> Array:
    """How much the score falls when a window slides over the image and hides it behind the baseline.

    Shape (k, n, height, width), signed, in units of score; each pixel is the mean over the windows that cover it.
    `window` is its side in pixels (default: an eighth of the image's shorter side), `stride` its step (default: half a
    window). It cannot see evidence that is spread over more than one window, and the edge of the window is itself new
    evidence.
    """
    xp = namespace(x)
    height, width = (side for axis, side in enumerate(x.shape) if axis and axis - x.ndim != model.channel)
    side = window or max(1, min(height, width) // 8)
    masks = [_mask(w, (height, width)) for w in _windows(height, width, side, stride or max(1, side // 2))]

    def hide(some: list[np.ndarray]) -> Array:
        return xp.where(like(np.expand_dims(some, (1, model.channel)), x) > 0, baseline, x)

    whole = model.run(x, target=target).score
    total = xp.zeros_like(whole)[..., None, None]
    for some, trace in stream(model, x, masks, hide, target=target):
        fall = whole[:, None, :] - trace.score
        total = total + xp.sum(fall[..., None, None] * like(np.expand_dims(some, 1), whole), axis=1)
    return total / like(np.sum(masks, axis=0), whole)


def _windows(height: int, width: int, side: int, stride: int) -> Iterator[Window]:
    """Windows from the upper left corner until the far edges are reached; the last of a row may be cut by the edge."""
    for top in _starts(height, side, stride):
        for left in _starts(width, side, stride):
            yield slice(top, top + side), slice(left, left + side)


def _starts(length: int, side: int, stride: int) -> range:
    return range(0, max(length - side, 0) + stride if length > side else 1, stride)


def _mask(window: Window, size: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(size, np.float32)
    mask[window] = 1
    return mask
