"""What a reader should know about a map before believing its colours."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

SATURATED = 0.2  # share of the pixels at the largest value, above which a map is called saturated


def words(heat: NDArray[Any]) -> str | None:
    """Says when a map is all zero, constant, saturated, or has values that are not finite; None when nothing is odd.

    Saturated: more than 20 % of the finite pixels have the largest absolute value.
    """
    values = np.asarray(heat, np.float64)
    finite = values[np.isfinite(values)]
    said = [lost(values), flat(finite) if finite.size else "The map has no finite value."]
    return " ".join(filter(None, said)) or None


def lost(values: NDArray[np.float64]) -> str | None:
    """How many values are not finite."""
    nan, infinite = int(np.isnan(values).sum()), int(np.isinf(values).sum())
    if nan + infinite == 0:
        return None
    counts = [f"{count} {name}" for count, name in ((nan, "NaN"), (infinite, "infinite")) if count]
    return f"{' and '.join(counts)} among {values.size} pixels, shown as stripes."


def flat(finite: NDArray[np.float64]) -> str | None:
    """Whether the finite values are all zero, all equal, or too often at the largest."""
    size = np.abs(finite)
    if not size.any():
        return "The map is zero everywhere."
    if finite.min() == finite.max():
        return f"The map is constant: {finite[0]:.3g} everywhere."
    share = float(np.mean(size >= size.max() * (1 - 1e-6)))
    return f"The map is saturated: {share:.0%} of the pixels are at the maximum." if share > SATURATED else None
