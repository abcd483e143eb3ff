"""IS-CAM, integrated Score-CAM."""

from __future__ import annotations

from sightline.arrays import Array
from sightline.method import Count, method
from sightline.methods._score import Items, score_weighted
from sightline.model import Layer, Model, Target
from sightline.stream import column


@method(
    "layer",
    family="CAM",
    cost="1 F + (steps - 1) F a channel that varies",
    source="Naidu et al. 2020, arXiv:2010.03023",
    scale_free=False,
)
def is_cam(model: Model, x: Array, target: Target, *, layer: Layer, steps: Count = 10) -> Array:
    """Score-CAM in which a channel's score is averaged over ever stronger copies of its mask.

    Mask i of N is the channel's times 0/N + 1/N + ... + (i - 1)/N; the first is zero for every channel, and cancels out
    in the softmax. (torchcam's sums begin at 1/N.) Shape (k, n, height, width) of the layer's own grid, not negative
    where the feature map is not. The strongest masks are (N - 1)/2 times the channel's: the image brighter than the
    model ever saw one.
    """
    factors = {i: i * (i - 1) / (2 * steps) for i in range(2, steps + 1)}

    def faded(masks: Array, items: Items) -> Array:
        return masks * column([factors[i] for _, i in items], x)

    return score_weighted(model, x, target, layer, list(factors), 1 / steps, faded)
