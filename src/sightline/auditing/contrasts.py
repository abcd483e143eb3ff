"""Groups of images compared: effect sizes and corrected p-values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Contrast:
    """Two groups of images compared by one figure."""

    figure: str
    first: str
    second: str
    difference: float  # of the means
    effect: float  # Cliff's delta: how much oftener the first has the larger value, -1 to 1
    p: float  # Mann-Whitney, two-sided, corrected by Holm over all that were compared


def contrasts(figure: str, groups: Mapping[str, np.ndarray]) -> list[Contrast]:
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
        made.append(replace(each, p=least))
    return made
