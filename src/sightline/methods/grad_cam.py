"""Grad-CAM."""

from __future__ import annotations

from sightline.arrays import Array, namespace
from sightline.method import method
from sightline.methods._cam import SPACE, differentiated, weighed
from sightline.model import Layer, Model, Target


@method(
    "gradient",
    "layer",
    family="CAM",
    cost="1 F + tail",
    source="Selvaraju et al. 2017, equations 1 and 2, arXiv:1610.02391",
)
def grad_cam(model: Model, x: Array, target: Target, *, layer: Layer) -> Array:
    """Feature map of a layer, each channel weighed by its mean gradient, and only what speaks for the target.

    Shape (k, n, height, width) of the layer's own grid, not negative. It cannot tell where within a cell of that grid,
    and a channel's one weight for the whole picture may light places that the score does not use.
    """
    features, gradients = differentiated(model, x, target, layer)
    return weighed(namespace(gradients).mean(gradients, axis=SPACE, keepdims=True), features)
