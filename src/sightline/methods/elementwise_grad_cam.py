"""Element-wise Grad-CAM."""

from __future__ import annotations

from sightline.arrays import Array, namespace, relu
from sightline.method import method
from sightline.methods._cam import differentiated
from sightline.model import Layer, Model, Target


@method(
    "gradient",
    "layer",
    family="CAM",
    cost="1 F + tail",
    source="Gildenblat et al. 2021, pytorch-grad-cam: GradCAMElementWise (no paper)",
)
def elementwise_grad_cam(model: Model, x: Array, target: Target, *, layer: Layer) -> Array:
    """HiResCAM in which each channel's cell counts only where it speaks for the target.

    Shape (k, n, height, width) of the layer's own grid, not negative. What speaks against the target is dropped before
    the channels are summed, so that it cannot tell a cell with strong evidence for and against from one with little.
    """
    features, gradients = differentiated(model, x, target, layer)
    return namespace(features).sum(relu(gradients * features), axis=-1)
