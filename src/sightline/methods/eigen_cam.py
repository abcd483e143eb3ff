"""Eigen-CAM."""

from __future__ import annotations

from sightline.arrays import Array
from sightline.method import method
from sightline.methods._cam import for_each_target, recorded
from sightline.methods._eigen import as_map, cells, first_component, signed
from sightline.model import Layer, Model, Target


@method("layer", family="CAM", cost="1 F", source="Muhammad and Yeasin 2020, equations 2 and 3, arXiv:2008.00299")
def eigen_cam(model: Model, x: Array, target: Target, *, layer: Layer) -> Array:
    """Feature map of a layer projected onto its first principal direction, the same for every target.

    The first right singular vector of the (cells, channels) matrix, which is not centred, as the paper has it; its sign
    is the one that lets the map grow with the sum of the channels. (pytorch-grad-cam centres the matrix and leaves the
    sign to the routine, so that its map may be the background.) Shape (k, n, height, width) of the layer's own grid, in
    units of the feature map, not negative where that is not. It knows nothing of the target: it shows what stands out
    in the feature map, whether the score uses it or not.
    """
    features, score = recorded(model, x, target, layer)
    matrix = cells(features)
    return for_each_target(as_map(signed(first_component(matrix), matrix), features), score)
