"""HiResCAM."""

from __future__ import annotations

from sightline.arrays import Array
from sightline.method import method
from sightline.methods._cam import differentiated, weighed
from sightline.model import Layer, Model, Target


@method(
    "gradient",
    "layer",
    family="CAM",
    cost="1 F + tail",
    source="Draelos and Carin 2020, section 4, arXiv:2011.08891",
)
def hires_cam(model: Model, x: Array, target: Target, *, layer: Layer) -> Array:
    """Feature map of a layer, each cell weighed by its own gradient, and only what speaks for the target.

    Shape (k, n, height, width) of the layer's own grid, not negative, in units of score. Where one linear layer
    follows, a cell shows what it adds to the score; further down, a gradient is what a small change would do and may be
    noisy from cell to cell.
    """
    features, gradients = differentiated(model, x, target, layer)
    return weighed(gradients, features)
