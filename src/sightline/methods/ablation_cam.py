"""Ablation-CAM."""

from __future__ import annotations

import numpy as np

from sightline.arrays import Array, beside, namespace
from sightline.method import method
from sightline.methods._cam import live_channels, over, weighed
from sightline.model import Layer, Model, Target
from sightline.stream import stream
from sightline.tail import Tail


@method(
    "layer",
    family="CAM",
    cost="1 F + 1 tail a channel that is not zero everywhere",
    source="Desai and Ramaswamy 2020, equations 3 and 4, doi:10.1109/WACV45572.2020.9093360",
)
def ablation_cam(model: Model, x: Array, target: Target, *, layer: Layer) -> Array:
    """Feature map of a layer, each channel weighed by the share of the score that falls when it is set to zero.

    Shape (k, n, height, width) of the layer's own grid, not negative. The fall is divided by the score's absolute value,
    which is the paper's share for a score above zero, and does not turn the map over for one below. (pytorch-grad-cam
    divides by the score itself, and sets a channel 1e7 below the lowest value where that is not zero.) Without
    gradients. It sees no evidence that two channels hold each on their own.
    """
    value, score = model.run(x, at=[layer.name]).values[layer.name], model.run(x, target=target).score
    xp, features = namespace(value), layer.spatial(value)
    count = features.shape[-1]
    falls = [xp.zeros_like(score)] * count
    row = [1] * (len(value.shape) + 1)
    row[layer.channel] = count

    def without(channels: list[int]) -> Array:
        gone = np.arange(count) == np.array(channels)[:, None]
        return xp.where(beside(gone.reshape(-1, *row[1:]), value), xp.zeros_like(value), value)

    for channels, trace in stream(Tail(model, layer, x), value, live_channels(features), without, target=target):
        for i, channel in enumerate(channels):
            falls[channel] = score - trace.score[:, i, :]
    weights = over(xp.stack(falls, axis=-1), xp.abs(score)[..., None])
    return weighed(weights[:, :, None, None, :], features)
