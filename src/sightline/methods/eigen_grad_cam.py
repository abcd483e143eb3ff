"""Eigen-Grad-CAM."""

from __future__ import annotations

from sightline.arrays import Array
from sightline.method import method
from sightline.methods._cam import differentiated
from sightline.methods._eigen import as_map, cells, first_component, signed
from sightline.model import Layer, Model, Target


@method(
    "gradient",
    "layer",
    family="CAM",
    cost="1 F + tail",
    source="Gildenblat et al. 2021, pytorch-grad-cam: EigenGradCAM (no paper); Muhammad and Yeasin 2020",
)
def eigen_grad_cam(model: Model, x: Array, target: Target, *, layer: Layer) -> Array:
    """Eigen-CAM of the feature map times its gradient.

    The (cells, channels) matrix of gradient times feature map, not centred, projected onto its first right singular
    vector, with the sign that lets the map grow with the sum of the channels: with HiResCAM before its rectifier.
    (pytorch-grad-cam centres the matrix, leaves the sign to the routine, and cuts what is negative then.) Shape
    (k, n, height, width) of the layer's own grid, signed. One direction of many: evidence of channels that vary
    otherwise is not in it.
    """
    features, gradients = differentiated(model, x, target, layer)
    product = gradients * features
    matrix = cells(product)
    return as_map(signed(first_component(matrix), matrix), product)
