"""What a picture is to raise inside a model: a layer's channel, one neuron of it, or the whole layer."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np

from sightline.arrays import Array, namespace
from sightline.errors import TargetError
from sightline.model import Layer, Target
from sightline.scores import as_target

Facts = dict[str, Any]
_FORMS = "a channel such as 7, a neuron such as 7@3,4 (channel 7 at row 3, column 4), or all"


def aim_at(spec: Any, layer: Layer, x: Array) -> tuple[Target, Facts]:
    """The target that `spec` names at `layer`, for one image, and what it is called; TargetError where it is not there.

    A channel counts as the mean of its map, a neuron as its value, the whole layer as the mean of its squares (which
    DeepDream climbs).
    """
    text = str(spec).replace(" ", "").lower()
    if text == "all":
        return Target(mean_square, (), layer.name), {"index": None, "label": f"all of {layer.name}"}
    found = re.fullmatch(r"(?:channel)?(\d+)(?:@(\d+(?:,\d+)*))?", text)
    if not found:
        raise TargetError(f"target {spec!r} was given for layer {layer.name!r}.", f"Give {_FORMS}.")
    channel, at = int(found[1]), tuple(int(n) for n in (found[2] or "").split(",") if n)
    weights = np.zeros((1, 1, *layer.shape))
    last = np.moveaxis(weights, layer.channel if len(layer.shape) == 3 else -1, -1)[0, 0]
    _check(spec, layer, channel, at, last.shape)
    chosen = last[(*at, channel)] if at else last[..., channel]
    last[(*at, channel) if at else (..., channel)] = 1 / max(1, np.size(chosen))
    where = f" at {', '.join(map(str, at))}" if at else ""
    label = f"channel {channel} of {layer.name}{where}"
    return replace(as_target(weights, x), place=layer.name), {
        "index": [channel, *at] if at else channel,
        "label": label,
    }


def mean_square(values: Array) -> Array:
    """Scores (1, n): the mean of each image's squared values."""
    return namespace(values).mean(values * values, axis=tuple(range(1, len(values.shape))))[None]


def _check(spec: Any, layer: Layer, channel: int, at: tuple[int, ...], shape: tuple[int, ...]) -> None:
    """TargetError for a channel or a position that the layer does not have; its channels come last in `shape`."""
    there = f"layer {layer.name!r} has {shape[-1]} channels"
    there += f" of {' x '.join(map(str, shape[:-1]))}" if len(shape) > 1 else ""
    if channel >= shape[-1] or (at and (len(at) != len(shape) - 1 or any(i >= n for i, n in zip(at, shape)))):
        raise TargetError(f"target {spec!r} was given; {there}, counted from 0.", f"Give {_FORMS}.")
