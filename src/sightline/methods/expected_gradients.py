"""Expected gradients."""

from __future__ import annotations

import numpy as np

from sightline.arrays import Array, namespace, normal
from sightline.method import Baselines, Checks, Count, method
from sightline.methods._noise import deviation
from sightline.methods._paths import blind, several
from sightline.model import Model, Target
from sightline.stream import column, groups, split

NAMED = "black+white+mean+blurred"


@method("gradient", family="path", cost="samples FB", source="Erion et al. 2021, equation 3, arXiv:1906.10670")
def expected_gradients(
    model: Model,
    x: Array,
    target: Target,
    *,
    backgrounds: Baselines = NAMED,
    samples: Count = 50,
    random_state: int = 0,
) -> tuple[Array, Checks]:
    """Gradient at random points between the image and random backgrounds, times the way from the background.

    Shape (k, n, *image), signed, in units of score; in the mean it sums to the score's distance from the mean score of
    the backgrounds. `backgrounds` are any number of images or baselines, such as images of the training set (a list, or
    an array of them); the paper means these. The default, "black+white+mean+blurred", is made of the image alone and
    stands in where there are none. Checks: `standard_error` of that sum, in units of score; `blind`, the share of pixels
    that look like every background. What the backgrounds have in common with the image gets nothing.
    """
    return expected(model, x, target, backgrounds, samples, random_state, noise=0.0)


def expected(
    model: Model,
    x: Array,
    target: Target,
    backgrounds: Array | tuple[Array, ...],
    samples: int,
    random_state: int,
    noise: float,
) -> tuple[Array, Checks]:
    """Mean over the samples of (image - background) * gradient; the image with noise, in shares of its range."""
    xp, given, spread = namespace(x), several(backgrounds), deviation(x, noise)
    found, sums = 0.0, []
    for group in groups(model, x, range(samples)):
        which, points = zip(*(_draw(len(given), random_state, k) for k in group))
        start = xp.stack([given[i] + xp.zeros_like(x) for i in which], axis=0)
        image = xp.stack([x + spread * normal(x, random_state, k) if noise else x for k in group], axis=0)
        way = image - start
        packed = xp.reshape(start + column(points, x) * way, (-1, *x.shape[1:]))
        trace = model.run(packed, at=[""], target=target.repeat(len(group)))
        each = split(trace.grads[""], len(group), 1) * way
        found = found + xp.sum(each, axis=1)
        sums.append(xp.sum(each, axis=tuple(range(3, each.ndim))))
    error = _standard_error(xp.concat(sums, axis=1))
    return found / samples, {"standard_error": error, "blind": blind(x, given, model.channel, error)}


def _draw(count: int, random_state: int, k: int) -> tuple[int, float]:
    """Of sample `k`, the background and the point on the way from it."""
    generator = np.random.default_rng([random_state, k])
    return int(generator.integers(count)), float(generator.uniform())


def _standard_error(sums: Array) -> Array:
    """Of the mean over axis 1; NaN for a single sample, which tells nothing of it."""
    xp, count = namespace(sums), sums.shape[1]
    spread = xp.sum((sums - xp.mean(sums, axis=1, keepdims=True)) ** 2, axis=1)
    return xp.sqrt(spread / (count * (count - 1) or float("nan")))
