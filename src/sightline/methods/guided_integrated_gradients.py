"""Guided integrated gradients."""

from __future__ import annotations

import math
from collections.abc import Iterator

from sightline.arrays import Array, namespace
from sightline.errors import MethodError
from sightline.method import Checks, Count, Size, method
from sightline.methods._paths import Step, blind, residual
from sightline.model import Model, Target

_DONE = 1e-9  # of the whole way


@method(
    "gradient", family="path", cost="(steps + 1) FB", source="Kapishnikov et al. 2021, algorithm 1, arXiv:2106.09788"
)
def guided_integrated_gradients(
    model: Model,
    x: Array,
    target: Target,
    *,
    baseline: Array = "black",
    steps: Count = 50,
    fraction: Size = 0.25,
    distance: Size = 0.02,
) -> tuple[Array, Checks]:
    """Gradients added up on a path that changes the values with the smallest gradients first.

    Shape (k, n, *image), signed, in units of score; each image and target has its own path. Each of `steps` steps brings
    the image nearer in L1 by an equal part: the `fraction` of the values that have the smallest absolute gradients go
    first, none further than `distance` (of its way) from the straight path; 0 is the straight path itself, 1 sets no
    bound. The gradient at the start of a step counts for the whole of it. Checks: `residual`, the share of the score's
    change that the sum leaves unexplained; `blind`, the share of pixels that look like the baseline, to which the
    method gives next to nothing. Whose gradient is large is changed last, so that its evidence depends on all the rest.
    """
    _check(fraction, distance)
    path = guided_path(model, x, target, baseline, steps, fraction, distance)
    image, first, gradient = next(path)
    found, last = 0.0, first
    for after, score, following in path:
        found = found + (after - image) * gradient
        image, last, gradient = after, score, following
    return found, {"residual": residual(found, last - first), "blind": blind(x, (baseline,), model.channel, last)}


def guided_walk(
    model: Model, x: Array, target: Target, *, baseline: Array, steps: int, fraction: float, distance: float
) -> Iterator[Step]:
    """Scores and gradients on the guided path."""
    _check(fraction, distance)
    path = guided_path(model, x, target, baseline, steps, fraction, distance)
    return ((score, gradient) for _, score, gradient in path)


def guided_path(
    model: Model, x: Array, target: Target, baseline: Array, steps: int, fraction: float, distance: float
) -> Iterator[tuple[Array, Array, Array]]:
    """At each of its points the images (k, n, ...), a row for each target, their scores and the gradients."""
    xp, way = namespace(x), x - baseline
    trace = model.run(baseline, at=[""], target=target)
    score, gradient = trace.score, trace.grads[""]
    done = xp.zeros_like(gradient)  # what share of its way each value has gone
    yield baseline + done * way, score, gradient
    for i in range(steps):
        done = _step(done, xp.abs(gradient), xp.abs(way), (i + 1) / steps, fraction, distance)
        images = baseline + done * way
        rows = [model.run(images[k, ...], at=[""], target=target.only(k)) for k in range(score.shape[0])]
        score, gradient = (xp.concat(each, axis=0) for each in zip(*((row.score, row.grads[""]) for row in rows)))
        yield images, score, gradient


def _step(done: Array, size: Array, weight: Array, goal: float, fraction: float, distance: float) -> Array:
    """The shares `done` after a step that brings their mean, weighed by the way's length, to `goal`.

    Those that are too far behind catch up; then the values with the smallest gradients go as far as they may, batch
    by batch, and the last batch as far as is still needed.
    """
    xp, axes = namespace(done), tuple(range(2, done.ndim))
    low, high = max(goal - distance, 0.0), min(goal + distance, 1.0)
    done = xp.maximum(done, xp.zeros_like(done) + low)
    whole = xp.sum(weight, axis=tuple(a - 1 for a in axes), keepdims=True)
    needed = xp.sum(weight * (1 - done), axis=axes, keepdims=True) - whole * (1 - goal)
    never = xp.zeros_like(size) + math.inf
    size = xp.where((done < high) & (weight > 0), size, never)
    batch = int(fraction * (math.prod(done.shape[2:]) - 1))
    for _ in range(math.prod(done.shape[2:]) // (batch + 1) + 1):
        open_ = needed > _DONE * whole
        if not xp.any(open_):
            break
        ordered = xp.sort(xp.reshape(size, (*size.shape[:2], -1)), axis=-1)
        limit = xp.reshape(ordered[:, :, batch], needed.shape)
        chosen = (size <= limit) & (size < never) & open_
        reach = xp.sum(xp.where(chosen, weight * (high - done), xp.zeros_like(done)), axis=axes, keepdims=True)
        whole_batch = needed >= reach
        part = xp.where(whole_batch, xp.zeros_like(reach), needed / xp.maximum(reach, xp.zeros_like(reach) + 1e-30))
        going = xp.where(whole_batch, xp.zeros_like(done) + high, done + part * (high - done))
        done, size = xp.where(chosen, going, done), xp.where(chosen, never, size)
        needed = xp.where(whole_batch, needed - reach, xp.zeros_like(needed))
    return done


def _check(fraction: float, distance: float) -> None:
    for name, value in {"fraction": fraction, "distance": distance}.items():
        if value > 1:
            raise MethodError(f"{name}={value!r} was given; expected a share from 0 to 1.", "Give one such as 0.25.")
