"""Figures with their uncertainty: intervals, effect sizes, corrected p-values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_DRAWS = 2000  # of the bootstrap
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
    """The mean of the values that are numbers, with a bootstrap interval over them (percentiles of 2,000 draws)."""
    known = np.asarray(values, np.float64)
    known = known[np.isfinite(known)]
    if known.size < 2:
        mean = float(known.mean()) if known.size else math.nan
        return Figure(mean, math.nan, math.nan, known.size)
    drawn = np.random.default_rng(random_state).integers(known.size, size=(_DRAWS, known.size))
    low, high = np.quantile(known[drawn].mean(axis=1), [0.025, 0.975])
    return Figure(float(known.mean()), float(low), float(high), known.size)


def share_of(hits: Sequence[bool] | np.ndarray) -> Figure:
    """A share of images, with Wilson's interval, which stays within 0 and 1."""
    count = len(hits)
    if not count:
        return Figure(math.nan, math.nan, math.nan, 0)
    p, z2 = float(np.mean(hits)), _NORMAL**2 / count
    centre = (p + z2 / 2) / (1 + z2)
    half = _NORMAL / (1 + z2) * math.sqrt(p * (1 - p) / count + z2 / (4 * count))
    return Figure(p, max(0.0, centre - half), min(1.0, centre + half), count)


@dataclass(frozen=True)
class Contrast:
    """Two groups of images compared by one figure."""

    figure: str
    first: str
    second: str
    difference: float  # of the means
    effect: float  # Cliff's delta: how much oftener the first has the larger value, -1 to 1
    p: float  # Mann-Whitney, two-sided, corrected by Holm over all that were compared


def contrasts(figure: str, groups: dict[str, np.ndarray]) -> list[Contrast]:
    """Every pair of groups, p-values not yet corrected; a group of fewer than two images is left out."""
    from scipy.stats import mannwhitneyu

    known = {name: values[np.isfinite(values)] for name, values in groups.items()}
    names = [name for name, values in known.items() if values.size > 1]
    found = []
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            a, b = known[first], known[second]
            u, p = mannwhitneyu(a, b, alternative="two-sided")
            delta = 2 * float(u) / (a.size * b.size) - 1
            found.append(Contrast(figure, first, second, float(a.mean() - b.mean()), delta, float(p)))
    return found


def corrected(found: Sequence[Contrast]) -> list[Contrast]:
    """The same with Holm's correction over all of them, smallest p first."""
    ordered = sorted(found, key=lambda each: each.p)
    least, made = 0.0, []
    for i, each in enumerate(ordered):
        least = max(least, min(1.0, (len(ordered) - i) * each.p))
        made.append(Contrast(each.figure, each.first, each.second, each.difference, each.effect, least))
    return made
