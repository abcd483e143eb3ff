"""FEM, the feature explanation method."""

from __future__ import annotations

from sightline.arrays import Array, namespace
from sightline.method import Size, method
from sightline.methods._cam import SPACE, for_each_target, recorded
from sightline.model import Layer, Model, Target


@method("layer", family="CAM", cost="1 F", source="Fuad et al. 2020, section 3, doi:10.1109/IPTA50016.2020.9286629")
def fem(model: Model, x: Array, target: Target, *, layer: Layer, sigmas: Size = 2.0) -> Array:
    """Where the channels of a layer are unusually strong, each weighed by its mean; the same for every target.

    A cell of a channel is unusual where it lies more than `sigmas` standard deviations above the channel's mean. Shape
    (k, n, height, width) of the layer's own grid, in units of the feature map. (pytorch-grad-cam weighs by the share of
    unusual cells and multiplies the feature map itself.) It knows nothing of the target, and a channel that is strong
    over much of the image counts nowhere.
    """
    features, score = recorded(model, x, target, layer)
    xp = namespace(features)
    mean = xp.mean(features, axis=SPACE, keepdims=True)
    deviation = xp.sqrt(xp.mean((features - mean) ** 2, axis=SPACE, keepdims=True))
    unusual = features > mean + sigmas * deviation
    found = xp.sum(xp.where(unusual, mean + xp.zeros_like(features), xp.zeros_like(features)), axis=-1)
    return for_each_target(found, score)
