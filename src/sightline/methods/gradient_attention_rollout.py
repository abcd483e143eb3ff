"""Attention rollout weighted by gradients."""

from __future__ import annotations

from sightline.arrays import Array, relu
from sightline.method import method
from sightline.methods._attention import (
    differentiated_attention,
    over_heads,
    rolled_out,
    rows_to_one,
    with_skip,
)
from sightline.model import Model, Target


@method(
    "gradient",
    "attention",
    family="attention",
    cost="1 FB",
    source="Gildenblat 2020, github.com/jacobgil/vit-explain, vit_grad_rollout.py",
    scale_free=False,
)
def gradient_attention_rollout(model: Model, x: Array, target: Target) -> Array:
    """Attention rollout in which attention counts by the gradient of the score, where their mean over the heads is positive.

    Shape (k, n, rows, columns), not negative; with the tokens that are no cells it sums to 1. Rows are those of the tokens
    that the score reads (of the class, of class and teacher, or all). Nothing is discarded, where the author drops the
    lowest nine tenths by default, and each row is divided by its own sum, where his code divides by another row's. The
    skip counts 1 beside products that hang on the scale of the scores: of a sure model it may drown them.
    """
    trace, places, tokens = differentiated_attention(model, x, target)
    weighted = [relu(over_heads(trace.values[place] * trace.grads[place])) for place in places]
    return rolled_out([rows_to_one(with_skip(a)) for a in weighted], trace.grads[tokens.name], tokens)
