"""How the channels of an attribution become one number a pixel."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sightline.errors import MethodError, nearest

REDUCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "max-abs": lambda a: np.abs(a).max(axis=-1),
    "mean-abs": lambda a: np.abs(a).mean(axis=-1),
    "sum-abs": lambda a: np.abs(a).sum(axis=-1),
    "sum": lambda a: a.sum(axis=-1),
    "max": lambda a: a.max(axis=-1),
    "l2": lambda a: np.sqrt(np.square(a).sum(axis=-1)),
}


def check_reduction(name: str | None) -> None:
    """Raise MethodError for an unknown reduction."""
    if name is not None and name not in REDUCTIONS:
        raise MethodError(
            f"reduce={name!r} was given; expected one of {', '.join(REDUCTIONS)}.",
            nearest(name, REDUCTIONS, "the list before"),
        )


def reduced(attribution: np.ndarray, name: str) -> np.ndarray:
    """The map (..., h, w) of an attribution (..., h, w, channels)."""
    return np.asarray(REDUCTIONS[name](attribution))
