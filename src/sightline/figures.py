"""Figures with their uncertainty: a mean, and the ends of its 95 % interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_DRAWS = 2000  # of the bootstrap
_FEW, _MANY = 10, 1000  # values: of fewer a bootstrap says too little, of more it says nothing else
_NORMAL = 1.959964  # quantile of 97.5 %


@dataclass(frozen=True)
class Figure:
    """A mean over `count` images, and the ends of its 95 % interval; NaN where there is none."""

    mean: float
    low: float
    high: float
    count: int

    def facts(self) -> dict[str, float | int | None]:
        """Ready for JSON."""
        ends = {name: getattr(self, name) for name in ("mean", "low", "high")}
        return {name: value if math.isfinite(value) else None for name, value in ends.items()} | {"count": self.count}


def mean_of(values: Sequence[float] | np.ndarray, random_state: int = 0) -> Figure:
    """The mean of the values that are numbers, and its interval: a bootstrap's percentiles, of 2,000 draws; of
    fewer than 10 values, or more than 1,000, Student's."""
    known = np.asarray(values, np.float64)
    known = known[np.isfinite(known)]
    if known.size < 2:
        mean = float(known.mean()) if known.size else math.nan
        return Figure(mean, math.nan, math.nan, known.size)
    if not _FEW <= known.size <= _MANY:
        half = _t(known.size) * float(known.std(ddof=1)) / math.sqrt(known.size)
        return Figure(float(known.mean()), float(known.mean()) - half, float(known.mean()) + half, known.size)
    drawn = np.random.default_rng(random_state).integers(known.size, size=(_DRAWS, known.size))
    low, high = np.quantile(known[drawn].mean(axis=1), [0.025, 0.975])
    return Figure(float(known.mean()), float(low), float(high), known.size)


def _t(count: int) -> float:
    """Student's quantile of 97.5 % for so many values."""
    from scipy.stats import t

    return float(t.ppf(0.975, count - 1))


def share_of(hits: Sequence[bool] | np.ndarray) -> Figure:
    """A share of images, with Wilson's interval, which stays within 0 and 1."""
    count = len(hits)
    if not count:
        return Figure(math.nan, math.nan, math.nan, 0)
    p, z2 = float(np.mean(hits)), _NORMAL**2 / count
    centre = (p + z2 / 2) / (1 + z2)
    half = _NORMAL / (1 + z2) * math.sqrt(p * (1 - p) / count + z2 / (4 * count))
    return Figure(p, max(0.0, centre - half), min(1.0, centre + half), count)


def mean_over_seeds(values: Sequence[np.ndarray], random_state: int = 0) -> Figure:
    """The mean of values (images,) for each of several trained models, with an interval over both.

    Models are drawn first, then images of each drawn model; with one model, over its images alone.
    """
    known = [each[np.isfinite(each)] for each in values]
    known = [each for each in known if each.size]
    if len(known) < 2:
        return mean_of(known[0] if known else [], random_state)
    rng = np.random.default_rng(random_state)
    means = [
        np.mean([rng.choice(known[k], known[k].size).mean() for k in rng.integers(len(known), size=len(known))])
        for _ in range(_DRAWS)
    ]
    low, high = np.quantile(means, [0.025, 0.975])
    return Figure(float(np.mean([each.mean() for each in known])), float(low), float(high), sum(e.size for e in known))
