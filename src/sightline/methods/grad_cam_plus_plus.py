"""Grad-CAM++."""

from __future__ import annotations

from sightline.arrays import Array, namespace, relu
from sightline.method import method
from sightline.methods._cam import SPACE, differentiated, over, weighed
from sightline.model import Layer, Model, Target


@method(
    "gradient",
    "layer",
    family="CAM",
    cost="1 F + tail",
    source="Chattopadhay et al. 2018, equations 5 to 7 and 19, arXiv:1710.11063",
    scale_free=False,
)
def grad_cam_plus_plus(model: Model, x: Array, target: Target, *, layer: Layer) -> Array:
    """Grad-CAM in which the positive gradients of each cell count by the curvature of the score's exponential.

    The paper's closed form for exp(score): a cell's share is g² / (2 g² + g³ ΣA) = 1 / (2 + g ΣA), with g its gradient
    and ΣA the sum of its channel. The factor exp(score), one number for the whole map, is left out, so that nothing
    overflows and a constant added to the score changes nothing; score times a constant is another map, as the paper has
    it. (pytorch-grad-cam adds 1e-6 to a denominator of the gradients' squares, and so fades where gradients are small;
    torchcam sums A g³ over the cells, and then drops the denominator.) Shape (k, n, height, width) of the layer's own
    grid, not negative. Made for a feature map without negative values; it shows nothing that speaks against the target.
    """
    features, gradients = differentiated(model, x, target, layer)
    xp = namespace(features)
    total = xp.sum(features, axis=SPACE, keepdims=True)
    return weighed(xp.sum(over(relu(gradients), 2 + gradients * total), axis=SPACE, keepdims=True), features)
