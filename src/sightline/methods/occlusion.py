"""Occlusion."""

from __future__ import annotations

import numpy as np

from sightline.arrays import Array, like, namespace
from sightline.errors import MethodError
from sightline.hiding import hidden, size_of
from sightline.method import Sides, method
from sightline.model import Model, Target


@method(family="perturbation", cost="1 F + 1 F a window", source="Zeiler and Fergus 2014, section 4.2, arXiv:1311.2901")
def occlusion(
    model: Model,
    x: Array,
    target: Target,
    *,
    baseline: Array = "black",
    window: Sides | None = None,
    stride: Sides | None = None,
) -> Array:
    """How much the score falls when a window slides over the image and hides it behind the baseline.

    Shape (k, n, height, width), signed, in units of score; each pixel is the mean over the windows that cover it.
    `window` is its side in pixels, or height and width as "5x9" (default: an eighth of the image's shorter side),
    `stride` its step (default: half a window; MethodError for more than a window). It cannot see evidence that is
    spread over more than one window, and the edge of the window is itself new evidence.
    """
    xp, (height, width) = namespace(x), size_of(model, x)
    sides = _pair(window or max(1, min(height, width) // 8))
    steps = _pair(stride) if stride else (max(1, sides[0] // 2), max(1, sides[1] // 2))
    if steps[0] > sides[0] or steps[1] > sides[1]:
        raise MethodError(
            f"stride={steps} was given for a window of {sides}; expected a step no longer than the window.",
            "Give a larger window: pixels that no window covers would have no value.",
        )
    rows, columns = (_strips(*line) for line in zip((height, width), sides, steps))

    def keep(some: list[int]) -> Array:
        row, column = np.divmod(some, len(columns))
        return 1 - like(rows[row], x)[:, None, :, None] * like(columns[column], x)[:, None, None, :]

    whole = model.run(x, target=target).score
    total = xp.zeros_like(whole)[..., None]
    for masks, score in hidden(model, x, target, baseline, range(len(rows) * len(columns)), keep):
        fall = xp.moveaxis(whole[:, None, :] - score, 1, 2)
        total = total + xp.matmul(fall, xp.reshape(1 - masks, (masks.shape[0], -1)))
    return xp.reshape(total, (*whole.shape, height, width)) / like(np.outer(rows.sum(0), columns.sum(0)), whole)


def _pair(sides: int | tuple[int, int]) -> tuple[int, int]:
    return (sides, sides) if isinstance(sides, int) else sides


def _strips(length: int, side: int, stride: int) -> np.ndarray:
    """What each window covers of one axis (windows, length): from the near edge until the far one is reached."""
    starts = range(0, max(length - side, 0) + stride if length > side else 1, stride)
    at = np.arange(length)
    return np.stack([(at >= start) & (at < start + side) for start in starts]).astype(np.float64)
