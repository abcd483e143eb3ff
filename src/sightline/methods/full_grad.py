"""FullGrad."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sightline.arrays import Array, namespace, resize
from sightline.errors import ModelError
from sightline.method import Checks, method
from sightline.methods._paths import residual
from sightline.model import Layer, Model, Target, Trace, is_rough

_BENT = {"relu6", "hardtanh", "gelu", "silu", "elu", "selu", "celu", "mish", "hardswish", "hard_silu", "softplus"}
_HEADS = {"softmax", "log_softmax", "sigmoid"}
_LEFT = {False: 1e-4, True: 0.05}  # of the absolute sum of all parts: what single and half precision may leave


class FullGradient(NamedTuple):
    """A score in parts (k, n, ...): it is the sum of them all."""

    score: Array
    image: Array  # image times gradient
    biases: list[tuple[Layer, Array]]  # bias times gradient, where the bias is added
    rest: Array  # (k, n): by the bias of the last layer, where a softmax or sigmoid in it was left out


@method(
    "gradient", family="gradient", cost="1 FB + 1 F", source="Srinivas and Fleuret 2019, section 5, arXiv:1905.00780"
)
def full_grad(model: Model, x: Array, target: Target) -> tuple[Array, Checks]:
    """Image times gradient, and bias times gradient of every layer, put over each other.

    Shape (k, n, height, width), not negative. Each channel of each part is taken absolutely, stretched to 0..1, resized
    and added up (the paper's formula; the authors' code stretches each layer as a whole). The parts sum to the score:
    biases are those of layers, the effective ones of batch normalisation, and what an activation that is no ReLU adds.
    Check: `residual`, the share of the score that they leave. ModelError where it is more than rounding: normalisation
    by the image's own statistics, attention, products, constants that are no layer's. Layers without a grid count in the
    sum but not in the map, and stretching gives a channel that hardly matters the weight of any other.
    """
    parts = full_gradient(model, x, target)
    _check(parts, _LEFT[is_rough(model, parts.score)])
    image = Layer("", "input", tuple(x.shape[1:]), model.channel)
    height, width = image.grid or (1, 1)
    found = 0.0
    for layer, part in [(image, parts.image), *parts.biases]:
        if layer.grid:
            found = found + resize(_stretched(layer.spatial(part)), (height, width))
    left = sum((_total(part) for _, part in parts.biases), _total(parts.image) + parts.rest)[..., None]
    return found, {"residual": residual(left, parts.score)}


def full_gradient(model: Model, x: Array, target: Target) -> FullGradient:
    """The score of each image in parts, one for the image and one for each layer that adds something of its own."""
    biases = _biases(model, x)
    bent = [layer for layer in model.places(x) if not layer.weighted and (layer.activation or layer.kind) in _BENT]
    heads = [layer for layer, _ in biases if layer.activation in _HEADS]
    places = [layer.name for layer, _ in biases if layer not in heads]
    places += [place for layer in bent for place in (f":{layer.name}", layer.name)]
    trace = model.run(x, at=["", *places], target=target)
    parts = [(layer, _by_bias(trace, layer, bias)) for layer, bias in biases if layer not in heads]
    parts += [(layer, _product(trace, layer.name) - _product(trace, f":{layer.name}")) for layer in bent]
    rest = namespace(x).zeros_like(trace.score)
    for head in heads:  # linear in its bias, as the score is taken before its softmax
        rest = rest + model.run(x, edit={f":{head.name}": _nothing}, target=target).score
    return FullGradient(trace.score, x * trace.grads[""], parts, rest)


def _biases(model: Model, x: Array) -> list[tuple[Layer, Array]]:
    """What each layer gives for nothing, so the effective bias; where it ends in an activation, its own."""
    layers = model.places(x)
    inner = {layer.name[:i] for layer in layers for i, mark in enumerate(layer.name) if mark in "./"}
    leaves = [layer for layer in layers if layer.weighted and layer.name.partition(":")[0] not in inner]
    own = {layer.name: next((p for p in layer.parameters if p.endswith("bias")), "") for layer in leaves}
    places = [own[layer.name] if layer.activation else layer.name for layer in leaves]
    nothing = {f":{layer.name}": _nothing for layer in leaves}
    values = model.run(x, at=[place for place in places if place], edit=nothing).values
    found = [(layer, values[place]) for layer, place in zip(leaves, places) if place]
    return [(layer, bias) for layer, bias in found if namespace(bias).any(bias != 0)]


def _nothing(value: Array) -> Array:
    return namespace(value).zeros_like(value)


def _by_bias(trace: Trace, layer: Layer, bias: Array) -> Array:
    """Bias times gradient where it is added: before the ReLU of the layer, if it has one."""
    gradient = trace.grads[layer.name]
    if not layer.activation:
        return gradient * bias
    if layer.activation != "relu":
        raise ModelError(
            f"a model was given whose layer {layer.name!r} applies {layer.activation} itself; expected ReLU.",
            "Put the activation into a layer of its own, or use another method, such as integrated-gradients.",
        )
    xp = namespace(bias)
    gradient = xp.where(trace.values[layer.name] > 0, gradient, xp.zeros_like(gradient))
    return gradient * xp.reshape(bias, (-1, *[1] * (-1 - layer.channel)))


def _product(trace: Trace, place: str) -> Array:
    return trace.values[place] * trace.grads[place]


def _stretched(part: Array) -> Array:
    """Absolute value, each channel stretched to 0..1 by itself, and their sum: (k, n, height, width)."""
    xp = namespace(part)
    part = xp.abs(part)
    low, high = (end(part, axis=(2, 3), keepdims=True) for end in (xp.min, xp.max))
    return xp.sum((part - low) / xp.where(high > low, high - low, xp.ones_like(high)), axis=-1)


def _total(part: Array) -> Array:
    return namespace(part).sum(part, axis=tuple(range(2, len(part.shape))))


def _check(parts: FullGradient, slack: float) -> None:
    """ModelError where the parts do not sum to the score."""
    xp, each = namespace(parts.score), [parts.image, *(part for _, part in parts.biases)]
    found, size = _sums(each), _sums([xp.abs(part) for part in each])
    left = xp.abs(parts.score - found - parts.rest)
    if xp.any(left > slack * (size + xp.abs(parts.score))):
        raise ModelError(
            "a model was given whose score is not the sum of its gradients times image and biases.",
            "FullGrad is for nets of ReLUs with (folded) normalisation; use integrated-gradients for others.",
        )


def _sums(parts: Sequence[Array]) -> Array:
    return sum((_total(part) for part in parts[1:]), _total(parts[0]))
