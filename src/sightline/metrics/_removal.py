"""What the metrics that take pixels away share: their order, and the scores on the way."""

from __future__ import annotations

import numpy as np

from sightline.arrays import Array
from sightline.errors import MethodError
from sightline.hiding import scores
from sightline.metric import Scored, Ties
from sightline.model import Model, Target


def ranked(maps: np.ndarray, ties: Ties, random_state: int) -> np.ndarray:
    """The place of each pixel in the order of its image, (n, h, w) from 0, the most relevant first.

    Pixels of one value are told apart by a draw that is the same for all images, or by their place: the first in rows,
    or the last, as a reversed argsort does.
    """
    flat = maps.reshape(len(maps), -1)
    count = flat.shape[1]
    by_place = {"first": np.arange(count), "last": np.arange(count)[::-1]}
    tie = by_place[ties] if ties in by_place else np.random.default_rng(random_state).permutation(count)
    orders = np.stack([np.lexsort((tie, -values)) for values in flat])
    ranks = np.empty_like(orders)
    np.put_along_axis(ranks, orders, np.broadcast_to(np.arange(count), orders.shape), axis=1)
    return ranks.reshape(maps.shape)


def counts_of(pixels: int, steps: int) -> np.ndarray:
    """How many pixels are gone at each of `steps` equal steps, from none to all of them: (steps + 1,)."""
    return np.rint(np.linspace(0, pixels, min(steps, pixels) + 1)).astype(np.int64)


def curve(
    model: Model, x: Array, target: Target, fill: Array, ranks: np.ndarray, counts: np.ndarray, *, insert: bool = False
) -> np.ndarray:
    """The scores (n, points) when so many of the first pixels are replaced by `fill`; or with them alone there."""

    def kept(points: list[int]) -> np.ndarray:
        gone = ranks[None] < counts[points].reshape(-1, 1, 1, 1)
        return np.asarray(gone if insert else ~gone, np.float64)

    return np.asarray(scores(model, x, target, fill, range(len(counts)), kept)[0].T)


def area(curves: np.ndarray) -> np.ndarray:
    """The mean height of curves (n, points) by trapezoids, both ends counted half."""
    return np.asarray((curves[:, 1:] + curves[:, :-1]).mean(axis=1) / 2)


def scored_as(scored: Scored, target: Target, probability: Target | None) -> Target:
    """What is read on the way; MethodError for the probability of what is no class."""
    if scored == "probability" and probability is None:
        raise MethodError(
            "scored='probability' was given; what is explained is no single class of a classifier.",
            "Use scored='logit', or explain a class.",
        )
    return probability if scored == "probability" and probability is not None else target
