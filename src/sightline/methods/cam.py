"""CAM."""

from __future__ import annotations

from sightline.arrays import Array, namespace, to_numpy
from sightline.errors import ModelError
from sightline.method import method
from sightline.methods._cam import SPACE
from sightline.model import Layer, Model, Target

_CELLS = (-3, -2, -1)
_ROUNDING = 1e-3  # in shares of the largest; far more than float32 needs, far less than another net differs by


@method("gradient", "layer", family="CAM", cost="2 F + tail", source="Zhou et al. 2016, equation 2, arXiv:1512.04150")
def cam(model: Model, x: Array, target: Target, *, layer: Layer) -> Array:
    """Feature map of a layer, each channel weighed as the linear layer behind the mean over space weighs it.

    Shape (k, n, height, width) of the layer's own grid, signed; its mean over space is the score without the linear
    layer's bias. The weights are the gradient of the score with respect to the means. ModelError where anything else
    than a mean over space and a linear layer follows: where the gradient is not the same in every cell, or where the
    map does not make up the change of the score from an empty feature map. It cannot tell where within a cell.
    """
    trace = model.run(x, at=[layer.name], target=target)
    value = trace.values[layer.name]
    features, gradients = layer.spatial(value), layer.spatial(trace.grads[layer.name])
    xp = namespace(features)
    found = xp.sum(xp.sum(gradients, axis=SPACE, keepdims=True) * features, axis=-1)
    spread = xp.max(xp.max(gradients, axis=SPACE) - xp.min(gradients, axis=SPACE), axis=-1)
    change = trace.score - model.run(x, edit={layer.name: xp.zeros_like(value)}, target=target).score
    size = xp.abs(trace.score) + xp.sum(xp.abs(gradients * features), axis=_CELLS)
    uneven = to_numpy(spread - _ROUNDING * xp.max(xp.abs(gradients), axis=_CELLS))
    unlike = to_numpy(xp.abs(xp.mean(found, axis=(-2, -1)) - change) - _ROUNDING * size)
    if (uneven > 0).any() or (unlike > 0).any():
        raise ModelError(
            f"CAM was asked at the layer {layer.name!r}; expected that a mean over space and one linear layer follow it.",
            "Take the last layer with a grid, or a method for any model, such as grad-cam or hires-cam.",
        )
    return found
