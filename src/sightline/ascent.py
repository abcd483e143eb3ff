"""Gradient ascent on a picture, over the seam."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from sightline.arrays import Array, at_least_float32, like, namespace, to_numpy
from sightline.canvas import Canvas
from sightline.model import Model, Target
from sightline.stream import PROGRESS

_START = 0.1  # spread of the first picture before the sigmoid: grey, faintly mottled
_FIRST, _SECOND, _LEAST = 0.9, 0.999, 1e-8  # of Adam (Kingma and Ba 2015)


@dataclass(frozen=True)
class Climb:
    """How a picture is climbed; the penalties are in units of the score, for pixels in 0..1.

    `rate` is the first step of each number, falling evenly to zero. `jitter`: each step shifts the picture by up to so
    many pixels each way, around the edges. `variation` times the mean square of neighbours' differences (Mahendran and
    Vedaldi 2015 with beta = 2) and `l2` times the mean square of 2p - 1, the distance from grey, are taken off.
    """

    steps: int = 256
    rate: float = 0.05
    jitter: int = 16
    variation: float = 0.0
    l2: float = 0.0
    space: Literal["fourier", "pixels"] = "fourier"
    decorrelate: bool = True
    random_state: int = 0


def climb(model: Model, target: Target, canvas: Canvas, how: Climb) -> tuple[Array, np.ndarray]:
    """The picture (1, ...) as the model's input, and the score (steps + 1,) of each picture on the way to it."""
    tell = PROGRESS.get()
    z = start(canvas, how.random_state)
    first, second = namespace(z).zeros_like(z), namespace(z).zeros_like(z)
    scores = []
    for step in range(how.steps):
        score, g = slope(model, target, canvas, z, how, step)
        scores.append(score)
        first, second = _FIRST * first + (1 - _FIRST) * g, _SECOND * second + (1 - _SECOND) * g * g
        size = namespace(z).sqrt(second / (1 - _SECOND ** (step + 1))) + _LEAST
        z = z + how.rate * (1 - step / how.steps) * (first / (1 - _FIRST ** (step + 1))) / size
        if tell:
            tell(step + 1, how.steps)
    x = canvas.shown(canvas.pixels(z))
    scores.append(model.run(x, at=[""], target=target).score)  # the same question as before, so no new program
    return x, np.array([to_numpy(score).item() for score in scores])


def start(canvas: Canvas, random_state: int) -> Array:
    """The first numbers (1, c, h, w): they depend on `random_state` and the size alone, in every framework."""
    shape = (canvas.colours.shape[0], *canvas.scale.shape)
    draw = np.random.default_rng([random_state, 0]).standard_normal(shape)
    return like(_START * draw[None], canvas.scale)


def slope(model: Model, target: Target, canvas: Canvas, z: Array, how: Climb, step: int) -> tuple[Array, Array]:
    """The score of the picture as it is shifted in this step, and the gradient of what is climbed at its numbers."""
    pixels = canvas.pixels(z)
    shift = np.random.default_rng([how.random_state, 1 + step]).integers(-how.jitter, how.jitter + 1, 2).tolist()
    trace = model.run(canvas.shown(_rolled(pixels, shift)), at=[""], target=target)
    g = _rolled(canvas.at_pixels(at_least_float32(trace.grads[""][0])), [-by for by in shift])
    return trace.score, canvas.back(g - _penalty(pixels, how), pixels)


def _rolled(a: Array, shift: list[int]) -> Array:
    for axis, by in zip((-2, -1), shift):
        a = namespace(a).roll(a, by, axis=axis) if by else a
    return a


def _penalty(p: Array, how: Climb) -> Array:
    """The gradient of the penalties at the pixels."""
    g = namespace(p).zeros_like(p)
    count = p.shape[1] * p.shape[2] * p.shape[3]
    if how.l2:
        g = g + how.l2 * 4 * (2 * p - 1) / count
    if how.variation:
        g = g + how.variation * 2 * (_falls(p, -2) + _falls(p, -1)) / count
    return g


def _falls(p: Array, axis: int) -> Array:
    """For each pixel, how far it lies above its two neighbours along an axis, together; none beyond the edges."""
    xp = namespace(p)
    whole, edge = slice(None), slice(0, 1)
    later = (whole, whole, slice(1, None), whole) if axis == -2 else (whole, whole, whole, slice(1, None))
    earlier = (whole, whole, slice(0, -1), whole) if axis == -2 else (whole, whole, whole, slice(0, -1))
    first = (whole, whole, edge, whole) if axis == -2 else (whole, whole, whole, edge)
    rise = p[later] - p[earlier]
    none = xp.zeros_like(p[first])
    return xp.concat([none, rise], axis=axis) - xp.concat([rise, none], axis=axis)
