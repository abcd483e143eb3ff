"""What Score-CAM and its kin share: channels as masks over the image, and the softmax of what the model makes of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sightline.arrays import Array, namespace, resize, sides, to_numpy
from sightline.methods._cam import over, recorded, weighed
from sightline.model import Layer, Model, Target
from sightline.stream import stream

Items = list[tuple[int, int]]  # channels, and which variant of each
Change = Callable[[Array, Items], Array]  # masks (m, n, *image, one channel) of some items, made others


def score_weighted(
    model: Model, x: Array, target: Target, layer: Layer, variants: Sequence[int], share: float, change: Change
) -> Array:
    """Feature map of `layer`, each channel weighed by the softmax of its score: the sum over its variants, by `share`.

    A channel that is the same in every cell of an image has no mask there, and takes no part.
    """
    features, score = recorded(model, x, target, layer)
    xp, size = namespace(features), sides(x, model.channel)
    channels = xp.moveaxis(features, -1, 0)
    varied = xp.max(channels, axis=(-2, -1)) > xp.min(channels, axis=(-2, -1))
    live = [c for c, some in enumerate(to_numpy(xp.any(varied, axis=-1))) if some]

    def masked(items: Items) -> Array:
        masks = change(_masks(xp.stack([channels[c, ...] for c, _ in items], axis=0), size, model.channel), items)
        return x * xp.astype(masks, x.dtype)  # a layer may be in half precision where the image is not

    found = [xp.zeros_like(score)] * channels.shape[0]
    items = [(c, variant) for c in live for variant in variants]
    for some, trace in stream(model, x, items, masked, target=target):
        for i, (c, _) in enumerate(some):
            found[c] = found[c] + share * trace.score[:, i, :]
    weights = _softmax(xp.stack(found, axis=-1), xp.moveaxis(varied, 0, -1))
    return weighed(weights[:, :, None, None, :], features)


def _masks(channels: Array, size: tuple[int, int], axis: int) -> Array:
    """Channels (m, n, h, w), as large as the images and between 0 and 1 in each of them, with an axis for their channels."""
    xp, large = namespace(channels), resize(channels, size)
    low = xp.min(large, axis=(-2, -1), keepdims=True)
    high = xp.max(large, axis=(-2, -1), keepdims=True)
    return xp.expand_dims(over(large - low, high - low), axis=axis)


def _softmax(scores: Array, counted: Array) -> Array:
    """Softmax of scores (k, n, channels) over those of the channels that are counted (n, channels)."""
    xp = namespace(scores)
    counted = xp.broadcast_to(counted[None, ...], tuple(scores.shape))
    least = xp.min(scores, axis=-1, keepdims=True)
    top = xp.max(xp.where(counted, scores, least + xp.zeros_like(scores)), axis=-1, keepdims=True)
    powers = xp.where(counted, xp.exp(xp.minimum(scores - top, xp.zeros_like(scores))), xp.zeros_like(scores))
    return over(powers, xp.sum(powers, axis=-1, keepdims=True))
