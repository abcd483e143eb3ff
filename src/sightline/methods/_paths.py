"""What the methods share that add up gradients on a path from a baseline to the image."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from sightline.arrays import Array, namespace
from sightline.model import Model, Target
from sightline.stream import column, stream

Path = Callable[[Sequence[float]], Array]  # the images (m, n, ...) at points of the path: 0 its start, 1 the image
Step = tuple[Array, Array]  # at a point of the path: the scores (k, n) and their gradients (k, n, ...)

_NEAR = 0.1  # of the largest distance in an image: what is nearer to the baseline counts less than a tenth


def straight(x: Array, baseline: Array) -> Path:
    """The straight path from the baseline to the images."""
    return lambda points: baseline + column(points, x) * (x - baseline)


def change(model: Model, x: Array, path: Path, target: Target) -> Array:
    """How much the scores change from the start of the path to its end: (k, n)."""
    start = path([0.0])[0, ...]
    return model.run(x, target=target).score - model.run(start, target=target).score


def walk(model: Model, x: Array, path: Path, target: Target, steps: int) -> Iterator[Step]:
    """The steps + 1 points that cut the path into equal parts, in their order."""
    points = [i / steps for i in range(steps + 1)]
    for group, trace in stream(model, x, points, path, at=[""], target=target):
        for i in range(len(group)):
            yield trace.score[:, i, :], trace.grads[""][:, i, ...]


def residual(found: Array, change: Array) -> Array:
    """Share of the score's change that the attribution does not sum to."""
    xp = namespace(found)
    left = xp.abs(xp.sum(found, axis=tuple(range(2, found.ndim))) - change)
    return left / xp.maximum(xp.abs(change), xp.zeros_like(change) + 1e-12)


def blind(x: Array, baselines: Sequence[Array], channel: int, change: Array) -> Array:
    """Share of each image's pixels that (nearly) equal every one of the baselines, for each target: (k, n).

    Nearly: in no channel further than a tenth of the largest distance in the image.
    """
    xp = namespace(x)
    farthest = partial(xp.max, axis=channel)
    distance = farthest(xp.abs(x - baselines[0]))
    for baseline in baselines[1:]:
        distance = xp.maximum(distance, farthest(xp.abs(x - baseline)))
    near = distance <= _NEAR * xp.max(distance, axis=(1, 2), keepdims=True)
    share = xp.mean(xp.where(near, xp.ones_like(distance), xp.zeros_like(distance)), axis=(1, 2))
    return xp.zeros_like(change) + share


def several(baseline: Array | tuple[Array, ...]) -> tuple[Array, ...]:
    """Each of several baselines, or the only one."""
    return baseline if isinstance(baseline, tuple) else (baseline,)


def mean_of(arrays: Sequence[Array]) -> Array:
    """Their mean, one after another."""
    return sum(arrays[1:], arrays[0]) / len(arrays)
