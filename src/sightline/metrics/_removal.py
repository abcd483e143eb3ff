"""What the metrics that take pixels away share: their order, and the scores on the way."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from sightline.arrays import Array
from sightline.errors import MethodError
from sightline.hiding import scores
from sightline.metric import Scored, Ties
from sightline.model import Model, Target
from sightline.scores import Highest


def ranked(maps: np.ndarray, ties: Ties, random_state: int) -> np.ndarray:
    """The place of each pixel in the order of its image, (n, h, w) from 0, the most relevant first.

    Pixels of one value are told apart by a draw that is the same for all images, or by their place: the first in rows,
    or the last, as a reversed argsort does.
    """
    return np.stack([places(each.ravel(), ties, random_state).reshape(each.shape) for each in maps])


def places(values: np.ndarray, ties: Ties, random_state: int) -> np.ndarray:
    """The place of each of some values, (count,) from 0, the highest first."""
    count = len(values)
    by_place = {"first": np.arange(count), "last": np.arange(count)[::-1]}
    tie = by_place[ties] if ties in by_place else np.random.default_rng(random_state).permutation(count)
    found = np.empty(count, np.int64)
    found[np.lexsort((tie, -values))] = np.arange(count)
    return found


def ranked_regions(
    maps: np.ndarray, labels: Iterable[np.ndarray], ties: Ties, random_state: int, *, mean: bool
) -> np.ndarray:
    """The place of each pixel's region, (n, h, w) from 0: by the region's mean, or else by its sum."""
    found = []
    for each, own in zip(maps, labels):
        held = np.bincount(own.ravel(), each.ravel())
        found.append(places(held / np.bincount(own.ravel()) if mean else held, ties, random_state)[own])
    return np.stack(found)


def counts_of(pixels: int, steps: int) -> np.ndarray:
    """How many pixels are gone at each of `steps` equal steps, from none to all of them: (steps + 1,)."""
    return np.rint(np.linspace(0, pixels, min(steps, pixels) + 1)).astype(np.int64)


def curve(
    model: Model, x: Array, target: Target, fill: Array, ranks: np.ndarray, counts: np.ndarray, *, insert: bool = False
) -> np.ndarray:
    """The scores (n, points) when so many of the first pixels are replaced by `fill`; or with them alone there."""

    def kept(points: list[int]) -> np.ndarray:
        gone = ranks[None] < counts[points].reshape(-1, 1, 1, 1)
        return np.asarray(gone if insert else ~gone)

    return np.asarray(scores(model, x, target, fill, range(len(counts)), kept)[0].T)


def area(curves: np.ndarray) -> np.ndarray:
    """The mean height of curves (n, points) by trapezoids, both ends counted half."""
    return np.asarray((curves[:, 1:] + curves[:, :-1]).mean(axis=1) / 2)


def area_over(curves: np.ndarray) -> np.ndarray:
    """How far curves (n, points) lie under their first point on average, in shares of it; NaN where it is 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        found = (curves[:, 0] - area(curves)) / np.abs(curves[:, 0])
    return np.where(curves[:, 0] == 0, np.nan, found)


def scored_as(scored: Scored, target: Target, probability: Target | None) -> Target:
    """What is read on the way; MethodError for the probability or the accuracy of what is no class."""
    if scored == "logit":
        return target
    if probability is None:
        raise MethodError(
            f"scored={scored!r} was given; what is explained is no single class of a classifier.",
            "Use scored='logit', or explain a class.",
        )
    return probability if scored == "probability" else target.then(Highest())


def probability_of(name: str, probability: Target | None) -> Target:
    """The probability that metric `name` is defined on; MethodError where what is explained is no class."""
    if probability is None:
        raise MethodError(
            f"metric {name!r} was given; what is explained is no single class of a classifier, and has no probability.",
            "Explain a class, or use a metric with scored='logit', such as pixel-flipping.",
        )
    return probability
