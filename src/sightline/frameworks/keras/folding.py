"""Batch norms folded into the convolutions before them, while a pass is traced: its program reads the weights when it runs.

The convolution is done once more with its weights scaled; the compiler leaves out the first, whose value nobody needs.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from sightline.arrays import Array
from sightline.frameworks.keras.gate import Pass, suspended

Made = tuple[Array, Any, Array]  # what a convolution gave, the layer, and what it was given


def convolved(watch: Pass, op: Any, args: Any, y: Any) -> Made | None:
    """What a batch norm must know of a convolution before it; None where it needs what this gave as it is."""
    if watch.engine.biased is None or type(op) not in (keras.layers.Conv2D, keras.layers.DepthwiseConv2D):
        return None
    linear = op.activation in (None, keras.activations.linear) and not getattr(op, "lora_enabled", False)
    grouped = getattr(op, "groups", 1) > 1  # which TensorFlow compiles by itself, so that nothing of it is left out
    if not linear or grouped or not _is_plain(op) or len(op._outbound_nodes) > 1 or not _is_let_be(watch, watch.place):
        return None
    x = args[0]
    axes = (2, 3) if op.data_format == "channels_first" else (1, 2)
    cells = [x.shape[axis] for axis in axes]
    weights = op.kernel.shape[0] * op.kernel.shape[1] * (1 if _is_depthwise(op) else op.kernel.shape[2])
    return (y, op, x) if None not in cells and weights <= cells[0] * cells[1] else None


def normed(watch: Pass, op: Any, args: Any, kwargs: Any, made: dict[int, Made]) -> Array | None:
    """What a batch norm gives, by the convolution with (w γ / √(σ² + ε)) and β + (b − μ) γ / √(σ² + ε); None where it has to
    run.
    """
    biased = watch.engine.biased
    if biased is None or type(op) is not keras.layers.BatchNormalization or len(args) != 1 or id(args[0]) not in made:
        return None
    _, conv, x = made[id(args[0])]
    channel = 1 if conv.data_format == "channels_first" else 3
    alone = all(value is None or value is False for value in kwargs.values()) and op.axis in (channel, channel - 4)
    if not alone or not _is_plain(op) or not _is_let_be(watch, f":{watch.place}") or not _is_let_be(watch, watch.place):
        return None
    scale = ops.rsqrt(ops.add(op.moving_variance, op.epsilon))
    scale = scale if op.gamma is None else ops.multiply(scale, op.gamma)
    shift = ops.negative(op.moving_mean) if conv.bias is None else ops.subtract(conv.bias, op.moving_mean)
    shift = ops.multiply(shift, scale)
    shift = shift if op.beta is None else ops.add(shift, op.beta)
    watch.folded = True
    with suspended(watch.engine):
        return biased(_convolution(conv, x, scale), shift, channel == 1)


def _convolution(conv: Any, x: Array, scale: Array) -> Array:
    depthwise = _is_depthwise(conv)
    own = conv.kernel.shape
    kernel = ops.multiply(conv.kernel, ops.reshape(scale, own[2:] if depthwise else (-1,)))
    operation = ops.depthwise_conv if depthwise else ops.conv
    order = {"dilation_rate": conv.dilation_rate, "data_format": conv.data_format}
    return operation(x, kernel, conv.strides, conv.padding, **order)


def _is_depthwise(conv: Any) -> bool:
    return isinstance(conv, keras.layers.DepthwiseConv2D)


def _is_plain(op: Any) -> bool:
    """Whether a layer does what its class does, in one precision throughout."""
    own = not {"call", "convolution_op", "__call__"} & set(op.__dict__)
    return (
        own
        and op.compute_dtype == op.variable_dtype in ("float32", "float64")
        and not getattr(op, "quantization_mode", None)
    )


def _is_let_be(watch: Pass, place: str) -> bool:
    """Whether nobody records or changes what is at a place, or any parameter."""
    asked = {*watch.at, *watch.edit}
    return place not in asked and not any(name.startswith("=") for name in asked)
