"""What Keras' layers do, as operations of the kinds that a rule knows.

A layer is an operation as a whole, but for the activation that it applies itself. What is no layer or operation of
Keras' own is "other": nothing is known of what happens in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import keras
from keras import ops
from keras.src import backend, tree
from keras.src.models.functional import Functional
from keras.src.ops.operation import Operation

from sightline.arrays import Array
from sightline.frameworks.keras.folding import Made, convolved, normed, pairs_of
from sightline.frameworks.keras.gate import Pass, suspended
from sightline.model import Op

_CONVOLUTIONS = {"Conv1D", "Conv2D", "Conv3D", "DepthwiseConv1D", "DepthwiseConv2D"}
_POOLS = {
    f"{whole}{kind}Pooling{axes}D": kind == "Max"
    for whole in ("", "Global")
    for kind in ("Max", "Average")
    for axes in "123"
}
_JOINED = {"Add": "add", "Subtract": "sub", "Multiply": "mul", "Divide": "div", "TrueDivide": "div", "Matmul": "matmul"}
_PASSING = {
    "InputLayer",
    "Flatten",
    "Reshape",
    "Permute",
    "Dropout",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "Identity",
}
_PASSING |= {"GaussianNoise", "GaussianDropout", "ActivityRegularization", "ZeroPadding1D", "ZeroPadding2D"}
_PASSING |= {"Cropping1D", "Cropping2D", "Cast", "GetItem", "Squeeze", "ExpandDims", "Transpose", "Pad", "ReLU", "Relu"}
_PASSING |= {"Relu6", "SpatialDropout3D", "ZeroPadding3D", "Cropping3D"}
_SCALED = {"Rescaling", "Normalization"}
_MONOTONE = {"tanh", "elu", "selu", "leaky_relu"}
_BY_NAME = {"LeakyReLU": "leaky_relu", "ELU": "elu", "Tanh": "tanh", "Elu": "elu", "Selu": "selu", "Gelu": "gelu"}
_BY_NAME |= {"Silu": "silu", "LeakyRelu": "leaky_relu", "Softmax": "softmax", "Sigmoid": "sigmoid"}


_KEEPING = ("Random", "Gaussian", "Dropout", "SpatialDropout", "InputLayer", "Identity", "Cast")


def _keeps(op: Operation) -> bool:
    """Whether an operation gives what it was given, outside of training."""
    return type(op).__name__.startswith(_KEEPING)


@dataclass
class RuledPass(Pass):
    """A pass that shows a rule every operation."""

    made: dict[int, tuple[Array, Op]] = field(default_factory=dict)  # what an operation with weights gave
    shallow: dict[int, Array] = field(default_factory=dict)  # what lies before any of these
    deep: bool = False  # one was met
    changed: bool = False  # something before any of these made another image of it
    pairs: Mapping[int, int] = field(default_factory=dict)  # of the model whose operation is called: see `pairs_of`
    convolved: dict[int, Made] = field(default_factory=dict)  # what such a batch norm, by its id, is to know

    @property
    def whole(self) -> bool:
        """Whether the rule is asked of more than ReLU."""
        return self.rule is not None and getattr(self.rule, "kinds", None) is None

    def visit(self, place: str, value: Array) -> Array:
        """As any pass; the image is what comes before all operations."""
        given = super().visit(place, value)
        if place == "":
            self.shallow[id(given)] = given
        return given

    def known(self, x: Array) -> Op | None:
        """The operation with weights that gave `x`."""
        return self.made[id(x)][1] if id(x) in self.made else None

    def scores(self, outputs: Array) -> Array:
        """The scores at the end, which a rule sees as an operation that does nothing."""
        if not self.whole:
            return outputs
        before = self.known(outputs)
        op = Op("output", "", lambda: (outputs,), {}, partial(self.engine.vjp, _same), before=before)
        return self.bent(op, (outputs,), _same)

    def operate(self, op: Operation, args: Any, kwargs: Any) -> Any:
        """As any pass; the model itself is the first to tell which of its batch norms can be folded."""
        if self.names is None and self.engine.biased:
            self.pairs = pairs_of(op)
        return super().operate(op, args, kwargs)

    def call(self, op: Operation, args: Any, kwargs: Any) -> Any:
        """What the operation does, with the rule's backward pass."""
        above = self.pairs
        self.pairs = pairs_of(op) if self.engine.biased else {}
        try:
            return self._called(op, args, kwargs, above)
        finally:
            self.pairs = above

    def _called(self, op: Operation, args: Any, kwargs: Any, above: Mapping[int, int]) -> Any:
        if isinstance(op, (Functional, keras.Sequential)):
            return super().call(op, args, kwargs)
        if not self.whole:
            return self._as_it_is(op, args, kwargs, above)
        xs = tuple(leaf for leaf in tree.flatten((args, kwargs)) if backend.is_tensor(leaf))
        shallow = all(id(x) in self.shallow for x in xs) or not self.deep
        outputs, kind = self._leaf(op, xs, args, kwargs, shallow), self._kind(op)
        self.changed |= shallow and kind not in ("conv", "linear") and not _keeps(op)
        if shallow and kind not in ("conv", "linear", "norm"):
            self.shallow |= {id(y): y for y in tree.flatten(outputs) if backend.is_tensor(y)}
        return outputs

    def _as_it_is(self, op: Operation, args: Any, kwargs: Any, above: Mapping[int, int]) -> Any:
        """What the operation does, a batch norm together with the convolution before it."""
        before = self.convolved.pop(id(op), None)
        if before is not None and (y := normed(self, op, args, kwargs, before)) is not None:
            return y
        y = super().call(op, args, kwargs)
        if id(op) in above and (made := convolved(self, op, args, y)) is not None:
            self.convolved[above[id(op)]] = made
        return y

    def _leaf(self, op: Operation, xs: tuple[Array, ...], args: Any, kwargs: Any, shallow: bool) -> Any:
        kind = self._kind(op)
        if kind == "passing":
            return super().call(op, args, kwargs)
        if kind in ("conv", "linear"):
            return self._weighted(op, kind, xs[0], shallow)
        if kind == "activation":
            return self._activated(_name(op), lambda x: super(RuledPass, self).call(op, (x,), kwargs), xs[0])
        if kind == "other":
            return self._other(op, super().call(op, args, kwargs), xs)
        forward = _on_tensors(self, op, args, kwargs)
        asked = Op(kind, self.place, lambda: xs, _facts(op, kind), partial(self.engine.vjp, forward), (True,) * len(xs))
        asked = replace(asked, before=self.known(xs[0]) if len(xs) == 1 else None, source=xs)
        y = self.bent(asked, xs, forward)
        if kind == "norm":
            self.made[id(y)] = (y, asked)
        return y

    def _kind(self, op: Operation) -> str:
        name = type(op).__name__
        if not type(op).__module__.startswith("keras."):
            return "other"
        if name in _CONVOLUTIONS or name == "Dense":
            plain = getattr(op, "padding", "") != "causal" and not getattr(op, "quantization_mode", None)
            plain = plain and not getattr(op, "lora_enabled", False)
            return "other" if not plain else "linear" if name == "Dense" else "conv"
        if name in _BY_NAME or name == "Activation":
            return "activation"
        known = {"BatchNormalization": "norm", "Concatenate": "concat"} | _JOINED
        known |= dict.fromkeys(_POOLS, "pool") | dict.fromkeys(_SCALED, "mul") | dict.fromkeys(_PASSING, "passing")
        return known.get(name, "other")

    def _weighted(self, op: Any, kind: str, x: Array, shallow: bool) -> Array:
        weight, bias = ops.stop_gradient(op.kernel), None if op.bias is None else ops.stop_gradient(op.bias)
        forward = partial(_linear, self, op)
        flat = (1,) * (len(weight.shape) - 1)
        channels = tuple(weight.shape[-2:]) if type(op).__name__.startswith("Depthwise") else (-1,)
        params = {"weight": weight, "bias": bias, "per_channel": (*flat[: len(flat) + 1 - len(channels)], *channels)}

        def again(x: Array, **changed: Any) -> Any:
            return self.engine.vjp(lambda x: forward(x, **({"weight": weight, "bias": bias} | changed)), x)

        asked = Op(kind, self.place, lambda: (x,), params, again, first=shallow, of_image=not self.changed, source=(x,))
        z = self.bent(asked, (x,), partial(forward, weight=weight, bias=bias))
        self.made[id(z)], self.deep = (z, asked), True
        activation = op.activation
        if activation in (None, keras.activations.linear):
            return z
        return self._activated(activation.__name__, activation, z)

    def _activated(self, name: str, function: Callable[[Array], Array], x: Array) -> Array:
        """An activation, which the gate sees by itself if it is a ReLU."""
        if name in ("linear", "relu", "relu6"):
            return function(x)
        y = function(x)

        def forward(x: Array) -> Array:
            with suspended(self.engine):
                return function(x)

        kind = name if name in ("softmax", "sigmoid") else "activation"
        facts = {"name": name, "monotone": name in _MONOTONE, "axis": -1}
        asked = Op(kind, self.place, lambda: (x,), facts, partial(self.engine.vjp, forward), before=self.known(x))
        bent = self.bent(asked, (x,), forward)
        self.heads += [(bent, scores, head) for given, scores, head in self.heads if given is y]
        return bent

    def _other(self, op: Operation, outputs: Any, xs: tuple[Array, ...]) -> Any:
        """An operation of which nothing is known: refused, unless it gives what it was given."""
        flat = tree.flatten(outputs)
        if all(any(y is x for x in xs) for y in flat):
            return outputs
        name = {"name": type(op).__name__}
        asked = Op("other", self.place, lambda: (flat[0],), name, partial(self.engine.vjp, _same))
        return tree.pack_sequence_as(outputs, [self.bent(asked, (y,), _same) for y in flat])


def _same(x: Array) -> Array:
    return ops.multiply(x, 1) if keras.backend.backend() == "torch" else x


def _name(op: Any) -> str:
    function = getattr(op, "activation", None)
    return str(_BY_NAME.get(type(op).__name__) or getattr(function, "__name__", ""))


def _facts(op: Any, kind: str) -> dict[str, Any]:
    if kind == "pool":
        return {"largest": _POOLS[type(op).__name__]}
    if kind != "norm":
        return {}
    named = {"mean": "moving_mean", "variance": "moving_variance", "weight": "gamma", "bias": "beta"}
    found = {ours: getattr(op, theirs, None) for ours, theirs in named.items()}
    values = {name: None if v is None else ops.stop_gradient(v) for name, v in found.items()}
    return {**values, "epsilon": op.epsilon}


def _on_tensors(watch: Pass, op: Operation, args: Any, kwargs: Any) -> Callable[..., Array]:
    """The operation as a function of its tensors alone."""
    flat = tree.flatten((args, kwargs))

    def forward(*xs: Array) -> Array:
        rest = iter(xs)
        new = [next(rest) if backend.is_tensor(leaf) else leaf for leaf in flat]
        own_args, own_kwargs = tree.pack_sequence_as((args, kwargs), new)
        with suspended(watch.engine):
            return Operation.__call__(op, *own_args, **own_kwargs)

    return forward


def _linear(watch: Pass, op: Any, x: Array, weight: Array, bias: Array | None) -> Array:
    """A convolution or dense layer with these weights, without its activation."""
    with suspended(watch.engine):
        if type(op).__name__ == "Dense":
            y = ops.matmul(x, weight)
        else:
            convolve = ops.depthwise_conv if type(op).__name__.startswith("Depthwise") else ops.conv
            y = convolve(x, weight, op.strides, op.padding, dilation_rate=op.dilation_rate, data_format=op.data_format)
        if bias is None:
            return y
        first = getattr(op, "data_format", "") == "channels_first"
        return ops.add(y, ops.reshape(bias, (1, -1, *[1] * (len(y.shape) - 2)) if first else (-1,)))
