"""XGrad-CAM."""

from __future__ import annotations

from sightline.arrays import Array, namespace
from sightline.method import method
from sightline.methods._cam import SPACE, differentiated, over, weighed
from sightline.model import Layer, Model, Target


@method(
    "gradient",
    "layer",
    family="CAM",
    cost="1 F + tail",
    source="Fu et al. 2020, equation 8, arXiv:2008.02312",
)
def xgrad_cam(model: Model, x: Array, target: Target, *, layer: Layer) -> Array:
    """Grad-CAM in which a channel's gradient is averaged where the channel is active.

    Each cell's gradient is weighed by its share of the channel's sum; a channel that sums to zero has no weight. Shape
    (k, n, height, width) of the layer's own grid, not negative. Made for a feature map without negative values: where
    a channel's values nearly cancel out, its weight has no meaning.
    """
    features, gradients = differentiated(model, x, target, layer)
    xp = namespace(features)
    shares = over(features, xp.sum(features, axis=SPACE, keepdims=True))
    return weighed(xp.sum(shares * gradients, axis=SPACE, keepdims=True), features)
