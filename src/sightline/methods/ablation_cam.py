"""Ablation-CAM."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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
    live, without = live_channels(features), _rewriting if hasattr(value, "index_put_") else _multiplying
    falls = np.zeros((*score.shape, features.shape[-1]))
    if live:
        left = np.moveaxis(scores_of(tail, value, target, live, without(value, layer.channel)), 1, -1)
        falls[..., live] = to_numpy(score)[..., None] - left
    weights = over(like(falls, score), namespace(score).abs(score)[..., None])
    return weighed(weights[:, :, None, None, :], features)


def _multiplying(value: Array, axis: int) -> Callable[[list[int]], Array]:
    """Makes copies (m, *value), each with one of the channels set to zero."""
    row = [1] * len(value.shape)
    row[axis] = count = value.shape[axis]

    def without(channels: list[int]) -> Array:
        kept = np.arange(count) != np.array(channels)[:, None]
        return like(kept.reshape(-1, *row), value) * value

    return without


def _rewriting(value: Array, axis: int) -> Callable[[list[int]], Array]:
    """The same where arrays can be written: in each pass's copies only the channels of the last and of this one change,
    since writing all of them takes about as long as a short tail.
    """
    channels_first = namespace(value).moveaxis(value, axis, 0)
    made: list[Any] = []  # the copies, and which channels they lack

    def without(channels: list[int]) -> Array:
        if not made or len(made[0]) != len(channels):
            whole = value.contiguous()  # each channel in one piece: so it is quick to write, and to take the mean of
            made[:] = [namespace(value).stack([whole] * len(channels)), None]
        copies, before = made
        by_channel = namespace(value).moveaxis(copies, axis, 1)
        items = np.arange(len(channels))
        if before is not None:
            by_channel[items, before] = channels_first[before]
        by_channel[items, channels] = 0
        made[1] = channels
        return copies

    return without
