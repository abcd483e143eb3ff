"""What the class activation maps share: a feature map, weights, and only what speaks for the target."""

from __future__ import annotations

from sightline.arrays import Array, namespace, relu, to_numpy
from sightline.eager import on_host
from sightline.errors import TargetError
from sightline.model import Layer, Model, Target, Trace
from sightline.scores import classes

SPACE = (-3, -2)  # the axes of a feature map (..., height, width, channels)


def differentiated(model: Model, x: Array, target: Target, layer: Layer) -> tuple[Array, Array]:
    """Feature map (n, height, width, channels) of a layer, and the scores' gradients there (k, n, ...)."""
    trace = model.run(x, at=[layer.name], target=target)
    return layer.spatial(trace.values[layer.name]), layer.spatial(trace.grads[layer.name])


def recorded(model: Model, x: Array, target: Target, layer: Layer) -> tuple[Array, Array]:
    """Feature map (n, height, width, channels) of a layer, and the scores (k, n); no gradient is taken."""
    value = model.run(x, at=[layer.name]).values[layer.name]
    return layer.spatial(value), model.run(x, target=target).score


@on_host
def weighed(weights: Array, features: Array) -> Array:
    """Sum of the channels, each by its weight (..., 1, 1, channels) or cell by cell, where it is positive."""
    return relu(namespace(features).sum(weights * features, axis=-1))


def for_each_target(cam: Array, score: Array) -> Array:
    """A map (n, height, width) that knows no target, once for each of the scores (k, n)."""
    return namespace(cam).broadcast_to(cam[None, ...], (score.shape[0], *cam.shape))


def live_channels(features: Array) -> list[int]:
    """The channels of feature maps (n, height, width, channels) that are not zero everywhere, in any of the images."""
    xp = namespace(features)
    return [c for c, live in enumerate(to_numpy(xp.any(features != 0, axis=(0, 1, 2)))) if live]


def over(a: Array, b: Array) -> Array:
    """`a / b`, and zero where `b` is zero."""
    xp = namespace(a)
    empty = b == 0
    return xp.where(empty, xp.zeros_like(a * b), a / xp.where(empty, xp.ones_like(b), b))


def check_is_class(model: Model, x: Array, target: Target, method: str) -> Trace:
    """The pass of the images; TargetError where one of the scores is not that of a class."""
    trace = model.run(x, target=target)
    shape = tuple(trace.outputs.shape)
    known = to_numpy(classes(trace.outputs)) if len(shape) == 2 else None
    if known is None or not (known == to_numpy(trace.score)[..., None]).any(axis=-1).all():
        raise TargetError(
            f"{method} was asked for a target that is no class; expected the score of one of the model's classes.",
            "Give a class, or use a method that takes any score, such as grad-cam.",
        )
    return trace
