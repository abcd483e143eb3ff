"""Gaussian."""

from __future__ import annotations

import numpy as np

from sightline.arrays import Array
from sightline.hiding import size_of
from sightline.method import Size, method
from sightline.methods._control import for_every_target
from sightline.model import Model, Target


@method(family="control", cost="1 F", source="a control: photographers put the object in the middle")
def gaussian(model: Model, x: Array, target: Target, *, width: Size = 0.25) -> Array:
    """A blob in the middle of the picture, where the object usually is.

    Shape (k, n, height, width), 0 to 1: a Gaussian whose standard deviation along each side is `width` of that side. It
    sees neither the model nor the picture.
    """
    down, across = (_bell(side, width) for side in size_of(model, x))
    return for_every_target((down[:, None] * across)[None], model, x, target)


def _bell(side: int, width: float) -> np.ndarray:
    """Values of the pixels' centres along a side, 1 in the middle of it."""
    away = (np.arange(side) + 0.5) / side - 0.5
    return np.exp(-((away / max(width, 1e-6)) ** 2) / 2)
