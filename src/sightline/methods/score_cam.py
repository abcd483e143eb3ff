"""Score-CAM."""

from __future__ import annotations

from sightline.arrays import Array
from sightline.method import method
from sightline.methods._score import score_weighted
from sightline.model import Layer, Model, Target


@method(
    "layer",
    family="CAM",
    cost="1 F + 1 F a channel that varies",
    source="Wang et al. 2020, algorithm 1, arXiv:1910.01279",
    scale_free=False,
)
def score_cam(model: Model, x: Array, target: Target, *, layer: Layer) -> Array:
    """Feature map of a layer, each channel weighed by the score of the image seen through it.

    A channel is resized bilinearly to the image, brought to 0..1 there, and laid over the model's input; the weights are
    the softmax of the scores over the channels. The score of a baseline, which the paper subtracts, cancels out in the
    softmax; a channel that is the same everywhere takes no part. Shape (k, n, height, width) of the layer's own grid, not
    negative where the feature map is not. (pytorch-grad-cam resizes corner to corner; torchcam brings to 0..1 before it
    resizes; the authors' own code has no softmax over the channels, but takes the class's probability.) With scores that
    lie far apart, the softmax leaves but one channel; and what is outside a mask becomes the input's zero, not nothing.
    """
    return score_weighted(model, x, target, layer, [0], 1.0, lambda masks, items: masks)
