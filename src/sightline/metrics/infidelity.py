"""Infidelity."""

from __future__ import annotations

from typing import Literal

import numpy as np

from sightline.arrays import Array, like, to_numpy
from sightline.errors import MethodError
from sightline.hiding import check_share, scores_of
from sightline.method import Count, Size
from sightline.metric import metric
from sightline.model import Model, Target


@metric(
    family="faithfulness",
    better="lower",
    low=0,
    source="Yeh et al. 2019, arXiv:1901.09392",
)
def infidelity(
    maps: np.ndarray,
    attribution: np.ndarray,
    model: Model,
    x: Array,
    target: Target,
    *,
    perturbation: Literal["squares", "noise"] = "squares",
    units: Literal["global", "local"] = "global",
    scaled: Literal["best", "as-given"] = "best",
    samples: Count = 100,
    side: float = 0.25,
    noise: Size = 0.2,
    fill: Array = "mean",
    random_state: int = 0,
) -> np.ndarray:
    """Mean squared error of the map's forecast of how much the score falls when the image is changed by a draw I.

    "squares" puts `fill` into a square with the `side` in shares of the shorter one, anywhere in the picture; "noise"
    subtracts normal noise of that deviation, in the model's input units. `units` says what the attribution is: "global"
    in units of the score, as input x gradient, whose forecast is its sum over the square; "local" a slope, as the gradient,
    whose forecast is its product with I, channel by channel. Mixing them up is the usual error. "best" first multiplies
    the map by the one number that forecasts best, so that only its pattern counts; "as-given" leaves it. In units of the
    squared score: compare maps of one model. A map that is zero everywhere has the mean squared fall.
    """
    check_share("side", side)
    if units == "local" and attribution.shape[1:] != np.moveaxis(to_numpy(x[:1, ...]), model.channel, -1).shape[1:]:
        raise MethodError(
            f"units='local' was given for an attribution of shape {attribution.shape[1:]}; it needs one value a channel.",
            "Use a method with channels, such as gradient, or units='global'.",
        )
    if units == "global" and perturbation == "noise":
        raise MethodError(
            "perturbation='noise' was given with units='global'; noise has no share in what a pixel's value gave.",
            "Use units='local' with a method whose attribution is a slope, such as gradient; or perturbation='squares'.",
        )
    images, filled = (np.moveaxis(to_numpy(a), model.channel, -1).astype(np.float64) for a in (x, fill))

    def drawn(k: int) -> np.ndarray:
        """I: (n, h, w, c)."""
        draw = np.random.default_rng([random_state, k])
        if perturbation == "noise":
            return np.broadcast_to(noise * draw.normal(size=images.shape[1:]), images.shape)
        return _square(maps.shape[1:], side, draw)[..., None] * (images - filled)

    def forecast(k: int) -> np.ndarray:
        if units == "local":
            return np.asarray((drawn(k) * attribution).sum(axis=(1, 2, 3)))
        return np.asarray(maps[:, _square(maps.shape[1:], side, np.random.default_rng([random_state, k]))].sum(axis=1))

    def changed(some: list[int]) -> Array:
        return like(np.moveaxis(np.stack([images - drawn(k) for k in some]), -1, model.channel), x)

    left = scores_of(model, x, target, range(samples), changed)[0]
    falls = to_numpy(model.run(x, target=target).score)[0].astype(np.float64) - left
    return _error(np.stack([forecast(k) for k in range(samples)]), falls, scaled == "best")


def _square(size: tuple[int, ...], side: float, draw: np.random.Generator) -> np.ndarray:
    """A square within the picture: (h, w) bool."""
    length = max(1, round(side * min(size)))
    top, left = (int(draw.integers(0, edge - length + 1)) for edge in size)
    mask = np.zeros(size, bool)
    mask[top : top + length, left : left + length] = True
    return mask


def _error(forecasts: np.ndarray, falls: np.ndarray, best: bool) -> np.ndarray:
    """Mean squared error (n,) of forecasts (samples, n); the best factor of a forecast that is always 0 is 0."""
    squares = (forecasts**2).sum(axis=0)
    factor = (forecasts * falls).sum(axis=0) / np.where(squares > 0, squares, 1) if best else 1.0
    return np.asarray(((factor * forecasts - falls) ** 2).mean(axis=0))
