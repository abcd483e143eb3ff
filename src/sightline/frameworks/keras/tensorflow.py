"""Passes of Keras models on TensorFlow: traced once into a graph that takes any number of images."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import keras
import tensorflow as tf
from keras.src.ops.operation import Operation

from sightline.arrays import Array
from sightline.errors import ModelError
from sightline.frameworks.keras.backs import as_back
from sightline.frameworks.keras.gate import Engine, Pass
from sightline.frameworks.keras.operations import RuledPass
from sightline.frameworks.keras.passes import (
    Arrays,
    Ask,
    before_head,
    check_met,
    edits,
    fingerprint,
    forward,
    remembered,
    rule_of,
    scores,
)
from sightline.model import Back, Instead, Op, Place, Trace

_RULED, _RAW = "SightlineRuled", "SightlineRaw"
_LIMITS = {"Relu": math.inf, "Relu6": 6.0}
_backs: dict[tf.Graph, dict[str, Back]] = {}  # of the operations of a graph that is being traced, by their names


@tf.RegisterGradient(_RULED)
def _ruled(op: tf.Operation, grad_y: Array, *others: Array) -> list[Array | None]:
    """The gradient of an identity of (y, *xs) that the rule gives to the xs."""
    back = _backs.get(op.graph, {}).get(op.name)
    return [grad_y, *[None for _ in others]] if back is None else [None, *back(op.outputs[0], grad_y)]


@tf.RegisterGradient(_RAW)
def _raw(op: tf.Operation, grad_y: Array) -> Array:
    """The gradient of a ReLU that no Keras function made."""
    back = _backs.get(op.graph, {}).get(op.name)
    derivative = tf.raw_ops.ReluGrad if op.type == "Relu" else tf.raw_ops.Relu6Grad
    return derivative(gradients=grad_y, features=op.inputs[0]) if back is None else back(op.outputs[0], grad_y)[0]


def _vjp(function: Callable[..., Array], *args: Array) -> tuple[Array, Callable[[Array], tuple[Array, ...]]]:
    own = [tf.identity(arg) for arg in args]  # one argument may come from another, and that way is not this operation's
    y = function(*own)
    return y, lambda grad_y: tuple(tf.gradients(y, own, grad_y, unconnected_gradients="zero"))


def _bend(function: Callable[..., Array], back_of: Callable[..., Back], *xs: Array) -> Array:
    """One registered gradient for all: `tf.custom_gradient` would register, and keep, one for each operation."""
    graph = tf.compat.v1.get_default_graph()
    y = function(*xs)
    with graph.gradient_override_map({"IdentityN": _RULED}):
        bent = tf.identity_n([y, *xs])[0]
    bent.set_shape(y.shape)
    _backs[graph][bent.op.name] = back_of(*xs)
    return bent


def _seen() -> AbstractContextManager[None]:
    """The ReLUs that the gate has seen keep their own gradient."""
    override: AbstractContextManager[None] = tf.compat.v1.get_default_graph().gradient_override_map(
        {n: n for n in _LIMITS}
    )
    return override


def _biased(y: Array, bias: Array, first: bool) -> Array:
    """In the form that TensorFlow does together with the convolution before and the ReLU after it."""
    return tf.nn.bias_add(y, bias, "NCHW" if first else "NHWC")


_folding = None if tf.config.list_physical_devices("GPU") else _biased
ENGINE = Engine(tf.compat.v1.get_default_graph, _vjp, _bend, mark=_seen, biased=_folding)
FOLDED: weakref.WeakSet[keras.Model] = weakref.WeakSet()
"""Models in a pass of which batch norms were folded into convolutions."""


@dataclass
class _Pass(RuledPass):
    """A pass that also finds the ReLUs which no Keras function made."""

    swept: int = 0

    def _arrive(self, op: Operation) -> Place:
        self.sweep()
        return super()._arrive(op)

    def _leave(self, op: Operation, place: Place, value: Array) -> Array:
        self.sweep(place)
        return super()._leave(op, place, value)

    def sweep(self, place: Place | None = None) -> None:
        """Ask the rule about each raw ReLU that appeared in the graph since the last time."""
        if self.rule is None:
            return
        graph = tf.compat.v1.get_default_graph()
        made = graph.get_operations()
        for op in made[self.swept :]:
            if op.type in _LIMITS and op.get_attr("_gradient_op_type") == _RAW.encode():
                self._ask(op, self.place if place is None else place)
        self.swept = len(made)

    def _ask(self, op: tf.Operation, place: Place) -> None:
        assert self.rule is not None

        def again(x: Array, limit: float = _LIMITS[op.type]) -> tuple[Array, Callable[[Array], tuple[Array, ...]]]:
            return _vjp(lambda x: tf.minimum(tf.nn.relu(x), tf.cast(limit, x.dtype)), x)

        asked = Op("relu", place, lambda: (op.inputs[0],), {"limit": _LIMITS[op.type]}, again)
        found = self.rule(asked)
        if isinstance(found, Instead):
            raise ModelError(
                f"the model calls tf.nn.relu itself in {place!r}, where nothing can stand in its place.",
                "Write keras.ops.relu in the layer's call, or use a method without a backward rule.",
            )
        if found is not None:
            self.hits += 1
            _backs[op.graph][op.name] = as_back(found, asked, (op.inputs[0],))


@dataclass(frozen=True)
class _Compiled:
    function: Callable[..., list[Array]]
    at: tuple[Place, ...]
    head: str


def run(model: keras.Model, ask: Ask, arrays: Arrays) -> Trace:
    """One pass, by a graph that is traced when its question is new."""
    specs = tuple((tuple(a.shape[1:]), a.dtype) for a in arrays.flat)
    key = (ask, specs, len(arrays.edits), fingerprint(model))
    compiled = remembered(model, key, lambda: _compile(weakref.ref(model), ask, arrays))
    outputs, *rest = compiled.function(*arrays.flat)
    if ask.score is None:
        return Trace(outputs, None, dict(zip(ask.at, rest)), {}, compiled.head)
    score, values, grads = rest[0], rest[1 : 1 + len(ask.at)], rest[1 + len(ask.at) :]
    return Trace(outputs, score, dict(zip(ask.at, values)), dict(zip(ask.at, grads)), compiled.head)


def _compile(model: weakref.ref[keras.Model], ask: Ask, arrays: Arrays) -> _Compiled:
    """A graph of the pass for any number of images; the weights are read when it runs."""
    heads: list[str] = []

    def function(*flat: Array) -> list[Array]:
        graph = tf.compat.v1.get_default_graph()
        _backs[graph] = {}
        try:
            head, results = _trace(model(), ask, arrays.like(flat))
        finally:
            del _backs[graph]
        heads.append(head)
        return results

    whole = {id(a) for place, a in zip(ask.replaced, arrays.edits) if place.startswith("=")}  # no images: parameters
    shapes = [a.shape if id(a) in whole else [None, *a.shape[1:]] for a in arrays.flat]
    specs = [tf.TensorSpec(shape, a.dtype) for shape, a in zip(shapes, arrays.flat)]
    traced = tf.function(function, autograph=False).get_concrete_function(*specs)
    return _Compiled(traced, ask.at, heads[-1])


def _trace(model: keras.Model, ask: Ask, arrays: Arrays) -> tuple[str, list[Array]]:
    recorded: dict[Place, Array] = {}

    def record(place: Place, value: Array) -> Array:
        recorded[place] = tf.identity(value)
        return recorded[place]

    graph = tf.compat.v1.get_default_graph()
    watch = _Pass(ENGINE, ask.recorded, edits(ask, arrays), record, rule_of(ask, arrays))
    override = dict.fromkeys(_LIMITS, _RAW) if ask.rule is not None else {}
    with keras.StatelessScope(initialize_variables=False), graph.gradient_override_map(override):
        outputs = forward(model, ask, arrays, watch)
        watch.sweep()
    if watch.folded:
        FOLDED.add(model)
    check_met(ask, watch)
    _check_sealed(graph, ask)
    outputs, head = before_head(watch, outputs)
    outputs = watch.scores(outputs)
    values = [recorded[place] for place in ask.at]
    if ask.score is None:
        return head, [outputs, *values]
    score = scores(ask, outputs, recorded, arrays)
    return head, [outputs, score, *values, *_gradients(score, values)]


def _gradients(score: Array, values: Sequence[Array]) -> list[Array]:
    """(k, n, ...) for each of the values: nothing below the shallowest of them is differentiated."""
    if not values:
        return []
    each = [tf.gradients(one, list(values), unconnected_gradients="zero") for one in tf.unstack(score)]
    return [tf.stack([tf.convert_to_tensor(grad) for grad in grads]) for grads in zip(*each)]


def _check_sealed(graph: tf.Graph, ask: Ask) -> None:
    """A ReLU inside a compiled function of the user's keeps its derivative, so that a rule must be refused."""
    if ask.rule is None:
        return
    sealed = [
        f.signature.name for f in graph.as_graph_def().library.function if any(n.op in _LIMITS for n in f.node_def)
    ]
    if sealed:
        raise ModelError(
            f"the model has a ReLU inside a tf.function, loop or branch ({sealed[0]}); expected it where a rule can reach.",
            "Take the tf.function off the layer's call, or use a method without a backward rule.",
        )


def survey(model: keras.Model, ask: Ask, arrays: Arrays) -> Pass:
    """What there is, found out without any arithmetic."""
    found: list[Pass] = []

    def shapes(*flat: Array) -> None:
        found.append(Pass(ENGINE))
        with keras.StatelessScope(initialize_variables=False):
            forward(model, ask, arrays.like(flat), found[-1])

    tf.function(shapes, autograph=False).get_concrete_function(*arrays.flat)
    return found[-1]


def device() -> str:
    """What TensorFlow computes on."""
    return "gpu" if tf.config.list_physical_devices("GPU") else "cpu"
