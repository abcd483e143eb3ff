"""Batch norms folded into the convolutions before them, while a pass is traced: its program reads the weights when it runs.

The convolution is done once more with its weights scaled; the compiler leaves out the first. Only where a functional model
or a Sequential itself hands a convolution's value to its batch norm is it certain that nothing else reads it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

import keras
from keras import layers, ops
from keras.src.models.functional import Functional

from sightline.arrays import Array
from sightline.frameworks.keras.crossing import nodes_of
from sightline.frameworks.keras.gate import Pass, suspended


class Made(NamedTuple):
    """What a batch norm must know of the convolution before it."""

    y: Array  # what it gave
    conv: Any
    x: Array  # what it was given
    kernel: Array
    bias: Array | None


def _made_of() -> tuple[Any, ...]:
    """What the two do, unless somebody puts something else there."""
    convolutions = layers.Conv2D.call, layers.Conv2D.convolution_op, layers.DepthwiseConv2D.call
    return *convolutions, layers.BatchNormalization.call, layers.Layer.__call__


_KERAS_OWN = _made_of()


def pairs_of(model: Any) -> Mapping[int, int]:
    """The convolutions, each with the batch norm to which alone the model hands its value, by their ids."""
    if type(model) not in (Functional, keras.Sequential) or "call" in model.__dict__ or _made_of() != _KERAS_OWN:
        return {}
    nodes = nodes_of(model)
    if not nodes:
        return {}
    calls = Counter(id(node.operation) for node in nodes)
    read = Counter(id(t) for node in nodes for t in node.input_tensors)
    read.update(id(t) for t in getattr(model, "_functional", model).outputs)
    made = {id(t): node.operation for node in nodes for t in node.output_tensors if _is_convolution(node.operation)}
    found = {}
    for norm in (node for node in nodes if type(node.operation) is layers.BatchNormalization):
        conv, given = made.get(id(norm.input_tensors[0])), id(norm.input_tensors[0])
        if conv is not None and read[given] == calls[id(conv)] == calls[id(norm.operation)] == 1:
            found[id(conv)] = id(norm.operation)
    return found


def convolved(watch: Pass, op: Any, args: Any, y: Any) -> Made | None:
    """What is to be known of a convolution; None where what it gave is needed as it is, or scaling gains nothing."""
    if len(args) != 1 or not _is_plain(op) or not _is_let_be(watch, watch.place):
        return None
    x, (kernel, bias) = args[0], (ops.convert_to_tensor(op.kernel), op.bias if op.use_bias else None)
    cells = x.shape[2:] if _is_first(op) else x.shape[1:3]
    weights = kernel.shape[0] * kernel.shape[1] * (1 if _is_depthwise(op) else kernel.shape[2])
    if None in cells or weights > cells[0] * cells[1]:
        return None
    return Made(y, op, x, kernel, None if bias is None else ops.convert_to_tensor(bias))


def normed(watch: Pass, op: Any, args: Any, kwargs: Any, made: Made) -> Array | None:
    """What a batch norm gives, by the convolution with (w γ / √(σ² + ε)) and β + (b − μ) γ / √(σ² + ε); None where it has to
    run.
    """
    channel = 1 if _is_first(made.conv) else 3
    alone = all(value is None or value is False for value in kwargs.values()) and op.axis in (channel, channel - 4)
    alike = op.compute_dtype == made.conv.compute_dtype and args[0] is made.y
    biased = watch.engine.biased
    if biased is None or not (alone and alike and _is_plain(op) and _is_let_be(watch, watch.place)):
        return None
    scale = ops.rsqrt(ops.add(op.moving_variance, op.epsilon))
    scale = ops.multiply(scale, op.gamma) if op.scale else scale
    shift = ops.negative(op.moving_mean) if made.bias is None else ops.subtract(made.bias, op.moving_mean)
    shift = ops.multiply(shift, scale)
    shift = ops.add(shift, op.beta) if op.center else shift
    watch.folded = True
    with suspended(watch.engine):
        return biased(_scaled(made, scale), shift, channel == 1)


def _scaled(made: Made, scale: Array) -> Array:
    """The convolution with each of its channels scaled."""
    conv, depthwise = made.conv, _is_depthwise(made.conv)
    kernel = ops.multiply(made.kernel, ops.reshape(scale, made.kernel.shape[2:] if depthwise else (-1,)))
    operation = ops.depthwise_conv if depthwise else ops.conv
    order = {"dilation_rate": conv.dilation_rate, "data_format": conv.data_format}
    return operation(made.x, kernel, conv.strides, conv.padding, **order)


def _is_convolution(op: Any) -> bool:
    """Whether it is one of Keras' own without an activation; in groups TensorFlow compiles it, and leaves nothing out."""
    kind = type(op) in (layers.Conv2D, layers.DepthwiseConv2D)
    return kind and op.activation in (None, keras.activations.linear) and getattr(op, "groups", 1) == 1


def _is_depthwise(conv: Any) -> bool:
    return isinstance(conv, layers.DepthwiseConv2D)


def _is_first(conv: Any) -> bool:
    return bool(conv.data_format == "channels_first")


def _is_plain(op: Any) -> bool:
    """Whether a layer does what its class does, in one precision throughout."""
    own = not {"call", "convolution_op", "__call__"} & set(op.__dict__)
    adapted = getattr(op, "quantization_mode", None) or getattr(op, "lora_enabled", False)
    return own and not adapted and op.compute_dtype == op.variable_dtype in ("float32", "float64")


def _is_let_be(watch: Pass, place: str) -> bool:
    """Whether nobody records or changes what goes into a layer or comes out of it, or any parameter."""
    asked = {*watch.at, *watch.edit}
    return not asked & {place, f":{place}"} and not any(name.startswith("=") for name in asked)
