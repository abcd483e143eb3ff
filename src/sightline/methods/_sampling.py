"""Sampling with a known error: how sure an estimate is, and when it is sure enough."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Annotated

import numpy as np

from sightline.arrays import Array, like
from sightline.method import AtLeast, Checks

Samples = Annotated[int, AtLeast(2)]
_ROUNDS = 8
Estimate = tuple[int | np.ndarray, np.ndarray, np.ndarray, dict[str, np.ndarray]]
"""Samples so far (of each image), the map (k, n, ...) that they give, the standard error of each of its values, and
other checks (k, n)."""


def rounds(samples: int, tolerance: float | None) -> Iterator[range]:
    """All samples at once; with a tolerance in eight rounds, whatever fits into a pass."""
    edges = np.unique(np.linspace(0, samples, 1 + (_ROUNDS if tolerance is not None else 1)).astype(int))
    yield from (range(int(start), int(stop)) for start, stop in pairwise(edges))


def settled(estimates: Iterable[Estimate], tolerance: float | None, x: Array) -> tuple[Array, Checks]:
    """The map of the first round that is sure enough, for each image and target by itself, with its checks.

    `standard_error` is the mean over the map, in shares of the map's range; `samples` those used. An image that is
    sure keeps its map while others go on, so that a map does not depend on its neighbours.
    """
    found: np.ndarray | None = None
    facts: dict[str, np.ndarray] = {}
    for count, fresh, error, more in estimates:
        counts = np.zeros(fresh.shape[:2]) + count
        new = {"standard_error": _share(fresh, error), "samples": counts} | more
        if found is None:
            found, facts = fresh, new
        else:
            going = facts["standard_error"] > (tolerance or 0)
            facts = {name: np.where(going, values, facts[name]) for name, values in new.items()}
            found = np.where(going.reshape(*going.shape, *[1] * (fresh.ndim - 2)), fresh, found)
        if tolerance is not None and (facts["standard_error"] <= tolerance).all():
            break
    return like(np.asarray(found), x), {name: like(values, x) for name, values in facts.items()}


def _share(found: np.ndarray, error: np.ndarray) -> np.ndarray:
    axes = tuple(range(2, found.ndim))
    return np.asarray(error.mean(axes) / np.maximum(found.max(axes) - found.min(axes), 1e-12))


def error_of_mean(total: np.ndarray, squares: np.ndarray, count: int) -> np.ndarray:
    """The standard error of a mean, from the sum of `count` values and of their squares."""
    if count < 2:
        return np.full(total.shape, np.inf)
    return np.sqrt(np.maximum(squares - total**2 / count, 0) / (count - 1) / count)
