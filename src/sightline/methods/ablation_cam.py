"""Ablation-CAM."""

from __future__ import annotations

import numpy as np

from sightline.arrays import Array, like, namespace, to_numpy
from sightline.hiding import scores_of
from sightline.method import method
from sightline.methods._cam import live_channels, over, weighed
from sightline.model import Layer, Model, Target
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
    tail = Tail(model, layer, x)
    value = tail.value
    score, features = model.run(x, target=target).score, layer.spatial(value)
    live, row = live_channels(features), [1] * (len(value.shape) + 1)
    row[layer.channel] = count = features.shape[-1]

    def without(channels: list[int]) -> Array:
        kept = np.arange(count) != np.array(channels)[:, None]
        return like(kept.reshape(-1, *row[1:]), value) * value

    falls = np.zeros((*score.shape, count))
    if live:
        left = np.moveaxis(scores_of(tail, value, target, live, without), 1, -1)
        falls[..., live] = to_numpy(score)[..., None] - left
    weights = over(like(falls, score), namespace(score).abs(score)[..., None])
    return weighed(weights[:, :, None, None, :], features)
