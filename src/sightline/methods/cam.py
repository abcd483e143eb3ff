"""CAM."""

from __future__ import annotations

from sightline.arrays import Array, at_least_float32, namespace, to_numpy
from sightline.errors import ModelError
from sightline.method import method
from sightline.methods._cam import SPACE
from sightline.model import Layer, Model, Target, is_rough

_CELLS = (-3, -2, -1)
_ROUNDING = {False: 1e-3, True: 0.05}  # in shares of the largest; more than single and half precision need


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
    features, gradients = (layer.spatial(at_least_float32(a)) for a in (value, trace.grads[layer.name]))
    xp, rounding = namespace(features), _ROUNDING[is_rough(model, value)]
    found = xp.sum(xp.sum(gradients, axis=SPACE, keepdims=True) * features, axis=-1)
    spread = xp.max(xp.max(gradients, axis=SPACE) - xp.min(gradients, axis=SPACE), axis=-1)
    empty = model.run(x, edit={layer.name: namespace(value).zeros_like(value)}, target=target).score
    score, change = at_least_float32(trace.score), at_least_float32(trace.score - empty)
    size = xp.abs(score) + xp.sum(xp.abs(gradients * features), axis=_CELLS)
    uneven = to_numpy(spread - rounding * xp.max(xp.abs(gradients), axis=_CELLS))
    unlike = to_numpy(xp.abs(xp.mean(found, axis=(-2, -1)) - change) - rounding * size)
    if (uneven > 0).any() or (unlike > 0).any():
        raise ModelError(
            f"CAM was asked at the layer {layer.name!r}; expected that a mean over space and one linear layer follow it.",
            "Take the last layer with a grid, or a method for any model, such as grad-cam or hires-cam.",
        )
    return found
