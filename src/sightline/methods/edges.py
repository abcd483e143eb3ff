"""Edges."""

from __future__ import annotations

import numpy as np

from sightline.arrays import Array, to_numpy
from sightline.hiding import size_of
from sightline.method import method
from sightline.methods._control import for_every_target
from sightline.model import Model, Target


@method(
    family="control",
    cost="1 F",
    source="a control: the edge detector of Adebayo et al. 2018, arXiv:1810.03292, which sees the picture alone",
)
def edges(model: Model, x: Array, target: Target) -> Array:
    """How fast the grey of the picture changes: a map that looks right and knows nothing of the model.

    Shape (k, n, height, width), not negative: the length of the gradient by Sobel's filters, in units of the model's
    input a pixel, of the mean over the channels. Borders are held.
    """
    size_of(model, x)
    grey = np.moveaxis(to_numpy(x), model.channel, -1).astype(np.float64).mean(axis=-1)
    return for_every_target(_sobel(grey), model, x, target)


def _sobel(grey: np.ndarray) -> np.ndarray:
    padded = np.pad(grey, ((0, 0), (1, 1), (1, 1)), mode="edge")
    return np.asarray(np.hypot(_across(padded), _across(padded.swapaxes(1, 2)).swapaxes(1, 2)) / 8)


def _across(values: np.ndarray) -> np.ndarray:
    """What the last axis changes by, from two neighbours, smoothed along the one before."""
    change = values[:, :, 2:] - values[:, :, :-2]
    return np.asarray(change[:, :-2] + 2 * change[:, 1:-1] + change[:, 2:])
