"""Layer-wise relevance propagation: which rule for which operation.

Relevance starts as score and gradient at the outputs, is divided at operations with weights by the rules of `weights`,
and passes the others so: ReLU, other activations that rise from zero at zero, dropout and whatever has one input an
output let it pass unchanged; max-pooling gives it to the winner; average pooling and addition divide it in proportion
to the values, or as the method's own rule divides a sum; a constant that is added or multiplied takes nothing; a batch
normalisation is folded into the convolution or linear layer before it, and lets relevance pass where there is none.
Everything else is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from sightline.arrays import Array
from sightline.model import Back, Bent, Model, Op, Rule, RuleOf, Target, Through
from sightline.rules.folding import folded, is_batch_norm
from sightline.rules.shares import refusal, unchanged
from sightline.rules.weights import OfWeights, epsilon_rule

_FIX = "Use attn-lrp if the model is a transformer, or a method without a backward rule, such as integrated-gradients."


def relevance(model: Model, x: Array, target: Target, rule: Rule, *arrays: Array) -> Array:
    """Relevance at the image: (k, n, *image)."""
    whole = RuleOf(rule, arrays) if arrays else rule
    return model.run(x, at=[""], target=target, rule=whole).grads[""]


@lru_cache
def composite(
    conv: OfWeights,
    linear: OfWeights,
    first: OfWeights | None = None,
    sums: OfWeights = epsilon_rule(0.0),  # noqa: B008  a rule is a constant
    method: str = "LRP",
) -> Callable[..., Bent]:
    """A rule each for convolutions, for linear layers, for the operations with weights that the image goes into, and
    for averages and additions, whose weights are all alike."""

    def of_weights(op: Op, *arrays: Array) -> Back:
        return (first if first and op.first else conv if op.kind == "conv" else linear)(op, *arrays)

    def rule(op: Op, *arrays: Array) -> Bent:
        if op.kind in ("conv", "linear"):
            return of_weights(op, *arrays)
        if is_batch_norm(op):
            whole = folded(op)
            return Through(of_weights(whole, *arrays), whole) if whole else unchanged(op)
        return score_times_gradient if op.kind == "output" else without_weights(op, sums, method)

    return rule


def score_times_gradient(y: Array, gradient: Array) -> tuple[Array]:
    """Relevance at the outputs, which sums to the score where that is linear in them."""
    return (y * gradient,)


def without_weights(op: Op, sums: OfWeights, method: str) -> Bent:
    """The rule of an operation without weights."""
    if op.kind == "concat" or (op.kind == "pool" and op.params["largest"]):
        return None  # the derivative moves relevance to where the value came from
    if op.kind == "relu" or op.params.get("monotone"):
        return unchanged(op)
    if op.kind in ("add", "sub", "mul", "div") and sum(op.carries) == 1 and (op.kind != "div" or op.carries[0]):
        return unchanged(op)
    if op.kind in ("add", "sub", "pool"):
        return sums(op)
    return refusal(op, method, _FIX)
