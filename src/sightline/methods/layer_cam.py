"""LayerCAM."""

from __future__ import annotations

from sightline.arrays import Array, relu
from sightline.method import method
from sightline.methods._cam import differentiated, weighed
from sightline.model import Layer, Model, Target


@method(
    "gradient",
    "layer",
    family="CAM",
    cost="1 F + tail",
    source="Jiang et al. 2021, equations 6 to 8, doi:10.1109/TIP.2021.3089943",
)
def layer_cam(model: Model, x: Array, target: Target, *, layer: Layer) -> Array:
    """Feature map of a layer, each cell weighed by its own gradient where that is positive.

    Shape (k, n, height, width) of the layer's own grid, not negative. Fine enough for shallow layers; it cannot show
    what speaks against the target, and counts a cell for it even where others of its channels outweigh that.
    """
    features, gradients = differentiated(model, x, target, layer)
    return weighed(relu(gradients), features)
