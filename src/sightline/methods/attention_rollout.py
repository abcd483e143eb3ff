"""Attention rollout."""

from __future__ import annotations

from sightline.arrays import Array
from sightline.layers import attention_layers
from sightline.method import method
from sightline.methods._attention import over_heads, rolled_out, rows_to_one, with_skip
from sightline.model import Model, Target


@method(
    "gradient",
    "attention",
    family="attention",
    cost="2 F + tail",
    source="Abnar and Zuidema 2020, section 3, arXiv:2005.00928",
)
def attention_rollout(model: Model, x: Array, target: Target) -> Array:
    """What each cell hands up to the tokens that the score reads, were attention all that a transformer did.

    Shape (k, n, rows, columns), not negative; with the tokens that are no cells it sums to 1. In each block the mean over
    the heads counts one half and the skip the other; the blocks are multiplied, from the first up. The gradient only says
    which tokens are read (of the class, of class and teacher, or all: the mean of their rows). It is the same for every
    class, and blind to values, to the layers between and to whether a token speaks for or against.
    """
    attention, tokens = attention_layers(model.places(x))
    values = model.run(x, at=[layer.name for layer in attention]).values
    gradient = model.run(x, at=[tokens.name], target=target).grads[tokens.name]
    steps = [rows_to_one(with_skip(over_heads(values[layer.name]))) for layer in attention]
    return rolled_out(steps, gradient, tokens)
