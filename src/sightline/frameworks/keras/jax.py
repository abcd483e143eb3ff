"""Passes of Keras models on JAX: compiled for a question and a batch, with the weights as arguments."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import keras
from jax.extend.core import get_opaque_trace_state

from sightline.arrays import Array
from sightline.errors import ModelError
from sightline.frameworks.keras.gate import Engine, Pass
from sightline.frameworks.keras.operations import RuledPass
from sightline.frameworks.keras.passes import (
    LOCK,
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
from sightline.model import Back, Place, Trace


def _bend(function: Callable[..., Array], back_of: Callable[..., Back], *xs: Array) -> Array:
    @jax.custom_vjp
    def bent(*xs: Array) -> Array:
        return function(*xs)

    def forward(*xs: Array) -> tuple[Array, Any]:
        y = function(*xs)
        return y, (y, xs)

    def backward(kept: Any, grad_y: Array) -> tuple[Array, ...]:
        y, xs = kept
        return tuple(back_of(*xs)(y, grad_y))

    bent.defvjp(forward, backward)
    return bent(*xs)


_SEEN = "sightline_gate"
ENGINE = Engine(get_opaque_trace_state, jax.vjp, _bend, jax.lax.stop_gradient, lambda: jax.named_scope(_SEEN))
Results = tuple[Array, Array | None, dict[Place, Array], dict[Place, Array]]  # outputs, score, values, gradients


def run(model: keras.Model, ask: Ask, arrays: Arrays) -> Trace:
    """One pass, by a program that is compiled when its question, or a batch of its size, is new."""
    specs = tuple((tuple(a.shape[1:]), a.dtype) for a in arrays.flat)
    sizes = remembered(model, (ask, specs, len(arrays.edits), fingerprint(model)), dict)
    n, weights = arrays.x.shape[0], _weights(model)
    with LOCK:
        size = n if _sees_the_batch(ask) else min((s for s in sizes if n <= s <= 2 * n), default=n)
        padded = _padded(arrays, n, size)
        if size not in sizes:
            sizes[size] = _compile(weakref.ref(model), ask, padded, weights)
    program, heads = sizes[size]
    try:
        results = program(padded.flat, weights)
    except (RuntimeError, ValueError) as error:  # the weights went while this thread was on its way
        raise _in_training() if "deleted" in str(error) else error from None
    outputs, score, values, grads = results if size == n else _cut(results, n, size)
    return Trace(outputs, score, values, grads, heads[-1])


def _weights(model: keras.Model) -> list[Array]:
    weights = [variable._value for variable in model.variables]
    if any(value is None for value in weights):
        raise _in_training()
    return weights


def _in_training() -> ModelError:
    return ModelError(
        "the model's weights are away, in a call of fit on JAX; expected a model that has them.",
        "Wait until fit returns, or explain from a callback after `model.jax_state_sync()`.",
    )


def _sees_the_batch(ask: Ask) -> bool:
    """Whether more images behind the others could change what is found: DeepLIFT's references ride in the batch."""
    if any(place.startswith("=") for place in ask.replaced):
        return True  # a parameter may be as long as the batch
    return bool(ask.functions) or (ask.rule is not None and getattr(ask.rule, "kinds", None) is None)


def _padded(arrays: Arrays, n: int, size: int) -> Arrays:
    """The first images once more at the end, so that a program for a larger batch will do."""
    if size == n:
        return arrays
    return arrays.like([jnp.concatenate([a, a[: size - n]]) if a.shape[:1] == (n,) else a for a in arrays.flat])


def _cut(results: Results, n: int, size: int) -> Results:
    """The part of the results that belongs to the first `n` images of `size`."""

    def rows(a: Array, axis: int = 0) -> Array:
        return jax.lax.slice_in_dim(a, 0, a.shape[axis] * n // size, axis=axis)

    outputs, score, values, grads = results
    kept = {place: value if place.startswith("=") else rows(value) for place, value in values.items()}
    score = None if score is None else rows(score, 1)
    return rows(outputs), score, kept, {place: rows(grad, 1) for place, grad in grads.items()}


def _compile(model: weakref.ref[keras.Model], ask: Ask, arrays: Arrays, weights: list[Array]) -> tuple[Any, list[str]]:
    heads: list[str] = []
    shape = arrays.like([None] * len(arrays.flat))  # the arrays themselves are not kept

    def program(flat: list[Array], weights: list[Array]) -> Results:
        head, results = _trace(model(), ask, shape.like(flat), weights)
        heads.append(head)
        return results

    return jax.jit(program).lower(arrays.flat, weights).compile(), heads


def _trace(model: keras.Model, ask: Ask, arrays: Arrays, weights: list[Array]) -> tuple[str, Results]:
    heads: list[str] = []
    watches: list[RuledPass] = []

    def scored(zeros: dict[Place, Array]) -> tuple[Array | None, tuple[Array, dict[Place, Array]]]:
        watch, outputs, recorded = _forward(model, ask, arrays, weights, zeros)
        outputs, head = before_head(watch, outputs)
        outputs = watch.scores(outputs)
        heads.append(head)
        watches.append(watch)
        if ask.scored is not None:
            check_met(ask, watch)  # a score needs its value here and now
        score = None if ask.score is None else scores(ask, outputs, recorded, arrays)
        return score, (outputs, {place: recorded[place] for place in ask.at if place in recorded})

    jaxpr, (_, (_, shapes)) = jax.make_jaxpr(scored, return_shape=True)({})
    if ask.rule is not None:
        _check_seen(jaxpr.jaxpr)
    check_met(ask, watches[0])
    if not ask.differentiated:
        score, (outputs, recorded) = scored({})
        return heads[-1], (outputs, score, recorded, {})
    zeros = {place: jnp.zeros(shapes[place].shape, shapes[place].dtype) for place in ask.differentiated}
    score, pull, (outputs, recorded) = jax.vjp(scored, zeros, has_aux=True)
    each = [pull(jnp.zeros_like(score).at[i].set(1))[0] for i in range(score.shape[0])]
    return heads[-1], (outputs, score, recorded, {place: jnp.stack([one[place] for one in each]) for place in zeros})


def _forward(
    model: keras.Model, ask: Ask, arrays: Arrays, weights: list[Array], zeros: dict[Place, Array]
) -> tuple[RuledPass, Array, dict[Place, Array]]:
    """A gradient at a place is one with respect to a zero added there: nothing below it is differentiated."""
    recorded: dict[Place, Array] = {}

    def record(place: Place, value: Array) -> Array:
        recorded[place] = value + zeros[place] if place in zeros else value
        return recorded[place]

    watch = RuledPass(ENGINE, ask.recorded, edits(ask, arrays), record, rule_of(ask, arrays))
    with keras.StatelessScope(list(zip(model.variables, weights)), initialize_variables=False):
        return watch, forward(model, ask, arrays, watch), recorded


def _check_seen(jaxpr: Any) -> None:
    if _unseen_relu(jaxpr):
        raise ModelError(
            "the model calls jax.nn.relu itself, where a backward rule cannot reach; expected keras.ops.relu.",
            "Write keras.ops.relu in the layer's call, or use a method without a backward rule.",
        )


def _unseen_relu(jaxpr: Any) -> bool:
    """Whether a ReLU of JAX's own stands outside of what the gate saw, and of the user's own backward passes."""
    for eqn in jaxpr.eqns:
        name = eqn.params.get("name")
        seen = _SEEN in str(eqn.source_info.name_stack) or eqn.primitive.name.startswith("custom_vjp")
        if seen or name in ("hard_sigmoid", "hard_silu"):  # which JAX makes of a relu6
            continue
        inner = [
            sub for sub in jax.tree.leaves(list(eqn.params.values())) if hasattr(sub, "eqns") or hasattr(sub, "jaxpr")
        ]
        if name in ("relu", "relu6") or any(_unseen_relu(getattr(sub, "jaxpr", sub)) for sub in inner):
            return True
    return False


def survey(model: keras.Model, ask: Ask, arrays: Arrays) -> Pass:
    """What there is, found out without any arithmetic."""
    found: list[Pass] = []

    def shapes(flat: list[Array], weights: list[Array]) -> Array:
        watch, outputs, _ = _forward(model, ask, arrays.like(flat), weights, {})
        found.append(watch)
        return outputs

    jax.eval_shape(shapes, arrays.flat, _weights(model))
    return found[-1]


def device() -> str:
    """What JAX computes on."""
    return str(jax.default_backend())
