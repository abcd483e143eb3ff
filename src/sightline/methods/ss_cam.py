"""SS-CAM, smoothed Score-CAM."""

from __future__ import annotations

from sightline.arrays import Array, namespace, normal
from sightline.method import Count, Size, method
from sightline.methods._score import Items, score_weighted
from sightline.model import Layer, Model, Target


@method(
    "layer",
    family="CAM",
    cost="1 F + samples F a channel that varies",
    source="Wang et al. 2020, SS-CAM (1), arXiv:2006.14255",
    scale_free=False,
)
def ss_cam(
    model: Model,
    x: Array,
    target: Target,
    *,
    layer: Layer,
    samples: Count = 35,
    noise: Size = 2.0,
    random_state: int = 0,
) -> Array:
    """Score-CAM in which a channel's score is averaged over copies of its mask with Gaussian noise.

    The noise is added to the mask once it is as large as the image and between 0 and 1; `noise` is its standard
    deviation there. Shape (k, n, height, width) of the layer's own grid, not negative where the feature map is not. At
    the paper's noise of 2 the masks are far outside of 0..1 and the weights nearly alike, which leaves little but the sum
    of the channels: where these have both signs, it may point away from the object.
    """
    one = [slice(None)] * x.ndim
    one[model.channel] = slice(0, 1)
    plane = x[tuple(one)]

    def noisy(masks: Array, items: Items) -> Array:
        draws = [normal(plane, random_state, channel * samples + sample) for channel, sample in items]
        return masks + noise * namespace(x).stack(draws, axis=0)[:, None, ...]

    return score_weighted(model, x, target, layer, range(samples), 1 / samples, noisy)
