"""ADCC."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sightline.arrays import Array
from sightline.metric import Curves, metric
from sightline.metrics._masked import before_and_after, drop, masked, normalised
from sightline.metrics._removal import probability_of
from sightline.model import Model, Target


@metric(
    family="faithfulness",
    better="higher",
    low=0,
    high=1,
    source="Poppi et al. 2021, arXiv:2104.10252",
)
def adcc(
    maps: np.ndarray,
    model: Model,
    x: Array,
    probability: Target | None,
    again: Callable[..., np.ndarray],
    *,
    fill: Array = 0,
) -> tuple[np.ndarray, Curves]:
    """Harmonic mean of 1 - average drop, coherency and 1 - complexity.

    The image is multiplied by the positive part of the map over its maximum, the rest is `fill`. Coherency: (1 + Pearson
    correlation) / 2 of the map with the same method's map of that image. Complexity: the mean of the map. 0 where one of
    them is; NaN for a map without positive values, for an explanation of the masked image without any or the same
    everywhere, and for a probability of 0. A method that draws the same small blob whatever the image has full coherency
    and low complexity: look at the parts. Curve: "parts" (n, 3), in the order above.
    """
    asked = probability_of("adcc", probability)
    shares = normalised(maps)
    whole, left = before_and_after(model, x, asked, fill, shares)
    second = normalised(again(masked(model, x, fill, shares)))
    coherency = (1 + _pearson(shares, second)) / 2
    parts = np.stack([1 - drop(whole, left), coherency, 1 - shares.mean(axis=(1, 2))], axis=1)
    with np.errstate(divide="ignore"):
        return 3 / (1 / parts).sum(axis=1), {"parts": parts}


def _pearson(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The correlation (n,) of maps (n, h, w); NaN where one is the same everywhere."""
    a, b = (each - each.mean(axis=(1, 2), keepdims=True) for each in (a, b))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((a * b).sum(axis=(1, 2)) / np.sqrt((a**2).sum(axis=(1, 2)) * (b**2).sum(axis=(1, 2))))
