"""Smooth Grad-CAM++."""

from __future__ import annotations

from sightline.arrays import Array, namespace, relu
from sightline.method import Count, Size, method
from sightline.methods._cam import SPACE, over, recorded, weighed
from sightline.methods._noise import noisy_copies
from sightline.model import Layer, Model, Target
from sightline.stream import stream


@method(
    "gradient",
    "layer",
    family="CAM",
    cost="1 F + samples (F + tail)",
    source="Omeiza et al. 2019, section 3, arXiv:1908.01224",
    scale_free=False,
)
def smooth_grad_cam_plus_plus(
    model: Model,
    x: Array,
    target: Target,
    *,
    layer: Layer,
    samples: Count = 25,
    noise: Size = 0.15,
    random_state: int = 0,
) -> Array:
    """Grad-CAM++ of the image's feature map, its derivatives averaged over copies of the image with Gaussian noise.

    With D1, D2 and D3 the means of g, g² and g³ over the copies, a cell's share is D2 / (2 D2 + ΣA D3), and a channel
    weighs the sum of share times the positive part of D1. Without noise it is Grad-CAM++. The paper prints D1 above the
    line, which without noise would not be; the factor exp(score) of each copy is left out. (torchcam has D2 too, but
    takes D1 of the last copy alone and sums A D3 over the cells.) `noise` is the standard deviation as a share of each
    image's range of values. Shape (k, n, height, width) of the layer's own grid, not negative. It shows what the
    gradients of the image's neighbours have in common, which need not be those of the image.
    """
    features, _ = recorded(model, x, target, layer)
    xp = namespace(features)
    total = xp.sum(features, axis=SPACE, keepdims=True)
    first, second, third = 0.0, 0.0, 0.0
    copies = noisy_copies(x, noise, random_state)
    for _, trace in stream(model, x, range(samples), copies, at=[layer.name], target=target):
        g = layer.spatial(trace.grads[layer.name])
        first, second, third = (
            mean + xp.sum(g**power, axis=1) / samples for power, mean in enumerate((first, second, third), 1)
        )
    shares = over(second, 2 * second + total * third)
    return weighed(xp.sum(shares * relu(first), axis=SPACE, keepdims=True), features)
