"""Integrated gradients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from sightline.arrays import Array, like, namespace
from sightline.errors import MethodError
from sightline.method import Baselines, Checks, Count, Size, method
from sightline.methods._paths import Step, blind, change, mean_of, residual, several, straight, walk
from sightline.model import Model, Target
from sightline.stream import stream

_TRIPLINGS = 3  # at most 27 times the points asked for


class _Integral(NamedTuple):
    """The attribution from one baseline: by all points, by a third of them; the score's change; the points used."""

    found: Array
    third: Array
    change: Array
    steps: Array


@method(
    "gradient",
    family="path",
    cost="steps FB + 2 F, a baseline",
    source="Sundararajan et al. 2017, equation 1, arXiv:1703.01365",
)
def integrated_gradients(
    model: Model,
    x: Array,
    target: Target,
    *,
    baseline: Baselines = "black",
    steps: Count = 50,
    tolerance: Size | None = None,
) -> tuple[Array, Checks]:
    """Mean gradient on the straight path from the baseline to the image, times its length.

    Shape (k, n, *image), signed, in units of score. `steps` midpoints; of several baselines ("black+white" or a list)
    the mean of their attributions, each by that many points. Checks: `residual`, the share of the score's change that
    the sum leaves unexplained; `map_error`, how far the map lies from that of a third of the points, in shares of its
    absolute sum; `steps`, the points used; `blind`, the share of pixels that look like every baseline. With
    `tolerance`, the points are tripled until the first two are under it (at most three times). Blind to what looks like
    the baseline: a black one gives zero to dark evidence.
    """
    baselines = several(baseline)
    parts = [_integral(model, x, target, one, steps, tolerance) for one in baselines]
    found, third, changed = (mean_of([part[i] for part in parts]) for i in range(3))
    return found, {
        "residual": residual(found, changed),
        "map_error": _distance(third, found),
        "steps": mean_of([part.steps for part in parts]) * len(parts),
        "blind": blind(x, baselines, model.channel, changed),
    }


def straight_walk(
    model: Model, x: Array, target: Target, *, baseline: Array, steps: int, tolerance: float | None = None
) -> Iterator[Step]:
    """Scores and gradients on the straight path."""
    if tolerance is not None:
        raise MethodError(
            f"tolerance={tolerance!r} was given for a path of a fixed number of steps.", "Leave it out, or give steps."
        )
    return walk(model, x, straight(x, baseline), target, steps)


def _integral(
    model: Model, x: Array, target: Target, baseline: Array, steps: int, tolerance: float | None
) -> _Integral:
    xp, way = namespace(x), x - baseline
    changed = change(model, x, straight(x, baseline), target)
    gradient, third = _mean_gradients(model, x, baseline, target, _midpoints(steps))
    found, coarse, used = way * gradient, way * third, xp.zeros_like(changed) + steps
    for _ in range(_TRIPLINGS if tolerance is not None else 0):
        done = xp.maximum(residual(found, changed), _distance(coarse, found)) <= tolerance
        if xp.all(done):
            break
        steps *= 3
        fresh = [p for i, p in enumerate(_midpoints(steps)) if i % 3 != 1]  # the others are known already
        new, _ = _mean_gradients(model, x, baseline, target, fresh)
        gradient = gradient / 3 + new * (2 / 3)
        finer = way * gradient
        held = xp.reshape(
            done, (*done.shape, *[1] * (x.ndim - 1))
        )  # an image that is done keeps its map: batch invariance
        used = xp.where(done, used, xp.zeros_like(used) + steps)
        coarse, found = xp.where(held, coarse, found), xp.where(held, found, finer)
    return _Integral(found, coarse, changed, used)


def _midpoints(steps: int) -> list[float]:
    return [(i + 0.5) / steps for i in range(steps)]


def _mean_gradients(
    model: Model, x: Array, baseline: Array, target: Target, points: Sequence[float]
) -> tuple[Array, Array]:
    """Mean gradient over all points, and over every third, each of which stands for itself and its neighbours."""
    xp, count = namespace(x), len(points)
    shares = {p: (1 / count, _share_of_third(i, count)) for i, p in enumerate(points)}
    both: Array = 0.0
    for group, trace in stream(model, x, points, straight(x, baseline), at=[""], target=target):
        gradients = trace.grads[""]
        weights = like(np.array([shares[p] for p in group]).T, gradients)
        flat = xp.reshape(gradients, (*gradients.shape[:2], -1))
        both = both + xp.matmul(weights, flat)  # (k, 2, values): both sums in one reading of the gradients
    mean, third = (xp.reshape(both[:, i, :], (both.shape[0], *x.shape)) for i in range(2))
    return mean, third


def _share_of_third(i: int, count: int) -> float:
    """What point `i` weighs in the rule that keeps the middle one of three; the last group may be of two or one."""
    group = min(3, count - i // 3 * 3)
    return group / count if i % 3 == group // 2 else 0.0


def _distance(coarse: Array, fine: Array) -> Array:
    """Absolute difference of two maps, in shares of the finer one's absolute sum."""
    xp, axes = namespace(fine), tuple(range(2, fine.ndim))
    size = xp.sum(xp.abs(fine), axis=axes)
    return xp.sum(xp.abs(coarse - fine), axis=axes) / xp.maximum(size, xp.zeros_like(size) + 1e-12)
