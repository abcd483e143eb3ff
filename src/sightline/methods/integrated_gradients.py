"""Integrated gradients."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from sightline.arrays import Array, namespace
from sightline.method import Checks, Count, Size, method
from sightline.model import Model, Target
from sightline.stream import column, stream

_TRIPLINGS = 3  # at most 27 times the points asked for


@method(
    "gradient",
    family="path",
    cost="steps FB + 2 F",
    source="Sundararajan et al. 2017, equation 1, arXiv:1703.01365",
)
def integrated_gradients(
    model: Model,
    x: Array,
    target: Target,
    *,
    baseline: Array = "black",
    steps: Count = 50,
    tolerance: Size | None = None,
) -> tuple[Array, Checks]:
    """Mean gradient on the straight path from the baseline to the image, times its length.

    Shape (k, n, *image), signed, in units of score. `steps` midpoints. Checks: `residual`, the share of the score's
    change that the sum leaves unexplained; `map_error`, how far the map lies from that of a third of the points, in
    shares of its absolute sum; `steps`, the points used. With `tolerance`, the points are tripled until both are under
    it (at most three times). Blind to what looks like the baseline: a black one gives zero to dark evidence.
    """
    xp, way = namespace(x), x - baseline
    change = _change(model, x, baseline, target)
    mean, third = _mean_gradients(model, x, baseline, target, _midpoints(steps))
    found, used = way * mean, xp.zeros_like(change) + steps
    residual, error = _residual(found, change), _distance(way * third, found)
    for _ in range(_TRIPLINGS if tolerance is not None else 0):
        done = xp.maximum(residual, error) <= tolerance
        if xp.all(done):
            break
        steps *= 3
        fresh = [p for i, p in enumerate(_midpoints(steps)) if i % 3 != 1]  # the others are known already
        new, _ = _mean_gradients(model, x, baseline, target, fresh)
        mean = mean / 3 + new * (2 / 3)
        finer = way * mean
        held = xp.reshape(
            done, (*done.shape, *[1] * (x.ndim - 1))
        )  # an image that is done keeps its map: batch invariance
        residual = xp.where(done, residual, _residual(finer, change))
        error = xp.where(done, error, _distance(found, finer))
        used = xp.where(done, used, xp.zeros_like(used) + steps)
        found = xp.where(held, found, finer)
    return found, {"residual": residual, "map_error": error, "steps": used}


def _midpoints(steps: int) -> list[float]:
    return [(i + 0.5) / steps for i in range(steps)]


def _on_path(x: Array, baseline: Array, points: Sequence[float]) -> Array:
    """The images (m, n, ...) at these points between the baseline (0) and `x` (1)."""
    return baseline + column(points, x) * (x - baseline)


def _change(model: Model, x: Array, baseline: Array, target: Target) -> Array:
    """How much the scores change from the baseline to `x`: (k, n)."""
    ends = stream(model, x, (0.0, 1.0), partial(_on_path, x, baseline), target=target)
    low, *_, high = (trace.score[:, i, :] for group, trace in ends for i in range(len(group)))
    return high - low


def _mean_gradients(
    model: Model, x: Array, baseline: Array, target: Target, points: Sequence[float]
) -> tuple[Array, Array]:
    """Mean gradient over all points, and over every third, each of which stands for itself and its neighbours."""
    xp, count = namespace(x), len(points)
    shares = {p: _share_of_third(i, count) for i, p in enumerate(points)}
    mean, third = 0.0, 0.0
    for group, trace in stream(model, x, points, partial(_on_path, x, baseline), at=[""], target=target):
        gradients = trace.grads[""]
        mean = mean + xp.sum(gradients, axis=1) / count
        for i, share in enumerate(shares[p] for p in group):
            third = third + gradients[:, i, ...] * share if share else third
    return mean, third


def _share_of_third(i: int, count: int) -> float:
    """What point `i` weighs in the rule that keeps the middle one of three; the last group may be of two or one."""
    group = min(3, count - i // 3 * 3)
    return group / count if i % 3 == group // 2 else 0.0


def _residual(found: Array, change: Array) -> Array:
    """Share of the score's change that the attribution does not sum to."""
    xp = namespace(found)
    left = xp.abs(xp.sum(found, axis=tuple(range(2, found.ndim))) - change)
    return left / xp.maximum(xp.abs(change), xp.zeros_like(change) + 1e-12)


def _distance(coarse: Array, fine: Array) -> Array:
    """Absolute difference of two maps, in shares of the finer one's absolute sum."""
    xp, axes = namespace(fine), tuple(range(2, fine.ndim))
    size = xp.sum(xp.abs(fine), axis=axes)
    return xp.sum(xp.abs(coarse - fine), axis=axes) / xp.maximum(size, xp.zeros_like(size) + 1e-12)
