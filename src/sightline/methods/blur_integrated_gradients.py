"""Blur integrated gradients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from sightline.arrays import Array, like, namespace
from sightline.method import Checks, Count, Size, method
from sightline.methods._paths import Path, Step, change, residual, walk
from sightline.model import Model, Target
from sightline.stream import stream

_SIGMA = 50 / 224  # of the shorter side: the authors' 50 pixels at 224


@method("gradient", family="path", cost="steps FB + 2 F", source="Xu et al. 2020, equation 4, arXiv:2004.03383")
def blur_integrated_gradients(
    model: Model, x: Array, target: Target, *, steps: Count = 50, sigma: Size | None = None
) -> tuple[Array, Checks]:
    """Gradients added up while the image comes out of a Gaussian blur, each times what the image gains there.

    Shape (k, n, *image), signed, in units of score. The blur's standard deviation falls from `sigma` pixels (default: 50
    of 224 of the shorter side) to 0 in `steps` equal steps: the gradient in the middle of each, times the difference of
    the pictures at its ends (so no derivative of the blur is estimated, and a linear model is explained exactly).
    Beyond its edges the picture is mirrored; the authors' code puts zeros there, which draws a dark rim. Check:
    `residual`, the share of the score's change that the sum leaves unexplained. It is blind to what a blur leaves as it
    is, such as the colour of a large area.
    """
    xp, path, found = namespace(x), blurring(x, model.channel, sigma), 0.0

    def middles(some: Sequence[int]) -> Array:
        return path([(i + 0.5) / steps for i in some])

    for group, trace in stream(model, x, range(steps), middles, at=[""], target=target):
        ends = path([i / steps for i in [*group, group[-1] + 1]])
        found = found + xp.sum(trace.grads[""] * (ends[1:, ...] - ends[:-1, ...]), axis=1)
    return found, {"residual": residual(found, change(model, x, path, target))}


def blur_walk(model: Model, x: Array, target: Target, *, steps: int, sigma: float | None) -> Iterator[Step]:
    """Scores and gradients on the way out of the blur."""
    return walk(model, x, blurring(x, model.channel, sigma), target, steps)


def blurring(x: Array, channel: int, sigma: float | None) -> Path:
    """The path from the blurred images (at 0) to the images themselves (at 1)."""
    xp = namespace(x)
    images = xp.moveaxis(x, channel, 1)
    height, width = images.shape[2:]
    widest = min(height, width) * _SIGMA if sigma is None else sigma

    def at(points: Sequence[float]) -> Array:
        rows, columns = (
            like(np.stack([_blur(side, widest * (1 - p)) for p in points])[:, None, None], x)
            for side in (height, width)
        )
        return xp.moveaxis(xp.matmul(xp.matmul(rows, images), columns), 2, channel)

    return at


def _blur(side: int, sigma: float) -> np.ndarray:
    """(side, side), symmetric: what a Gaussian takes of each sample, those of the mirror images beyond the edges too."""
    if sigma == 0:
        return np.eye(side)
    reach = int(np.ceil(4 * sigma / side)) + 1
    periods = 2 * side * np.arange(-reach, reach + 1)[:, None]
    bell = np.exp(-0.5 * ((np.arange(2 * side) + periods) / sigma) ** 2).sum(axis=0)  # by distance, in whole samples
    at = np.arange(side)
    weights = bell[np.abs(at[:, None] - at)] + bell[at[:, None] + at + 1]
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))
