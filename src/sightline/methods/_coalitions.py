"""Coalitions: which superpixels of each image are kept, and linear models fitted to the scores that they leave."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from sightline.arrays import Array
from sightline.hiding import scores
from sightline.method import Checks
from sightline.methods._sampling import Estimate, rounds, settled
from sightline.model import Model, Target

Fit = tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]
"""Of one image: the values of its superpixels (k, d), their standard errors (k, d), and other checks (k,)."""


def kept(coalitions: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Masks (m, n, height, width) of the superpixels that `coalitions` (m, n, superpixels) keep."""
    return np.asarray(coalitions[:, np.arange(len(labels))[:, None, None], labels])


def painted(values: Sequence[np.ndarray], labels: np.ndarray) -> np.ndarray:
    """The values (k, d) of each image's superpixels over their pixels: (k, n, height, width)."""
    return np.stack([own[:, regions] for own, regions in zip(values, labels)], axis=1)


def fit_all(
    model: Model,
    x: Array,
    target: Target,
    baseline: Array,
    labels: np.ndarray,
    designs: Sequence[np.ndarray],
    fit: Callable[[int, np.ndarray], Fit],
    samples: int,
    tolerance: float | None,
) -> tuple[Array, Checks]:
    """The map of what `fit(image, its scores (m, k) so far)` finds of the coalitions (m, d) in each image's design."""
    plays = _together(designs)

    def estimates() -> Iterator[Estimate]:
        known: list[np.ndarray] = []
        for items in rounds(samples, tolerance):
            few = items[: max(0, len(plays) - items.start)]  # all coalitions of few superpixels are fewer than samples
            if few or not known:
                known.append(scores(model, x, target, baseline, few, lambda some: kept(plays[some], labels)))
            so_far = np.concatenate(known, axis=1)
            counts = np.array([min(len(design), so_far.shape[1]) for design in designs])
            found = [fit(i, so_far[:, :count, i].T) for i, count in enumerate(counts)]
            values, errors = ([part[0] for part in found], [part[1] for part in found])
            checks = {name: np.stack([part[2][name] for part in found], axis=1) for name in found[0][2]}
            yield counts, painted(values, labels), painted(errors, labels), checks

    return settled(estimates(), tolerance, x)


def _together(designs: Sequence[np.ndarray]) -> np.ndarray:
    """Coalitions (m, n, d), filled up with whole images to the most coalitions and superpixels of any image."""
    count, widest = (max(1, *(design.shape[axis] for design in designs), 0) for axis in (0, 1))
    out = np.ones((count, len(designs), widest), bool)
    for i, design in enumerate(designs):
        out[: design.shape[0], i, : design.shape[1]] = design
    return out


def widened(errors: np.ndarray, samples: int, freedom: int) -> np.ndarray:
    """Standard errors made larger for the freedom that a fit took; infinite where none is left."""
    if samples <= freedom:
        return np.full(errors.shape, np.inf)
    return np.asarray(errors * np.sqrt(samples / (samples - freedom)))
