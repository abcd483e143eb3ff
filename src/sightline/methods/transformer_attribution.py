"""Transformer attribution."""

from __future__ import annotations

from sightline.arrays import Array, relu
from sightline.method import method
from sightline.methods._attention import differentiated_attention, gathered, over_heads
from sightline.model import Model, Target
from sightline.rules.attention import positive_composite


@method(
    "gradient",
    "attention",
    "rule",
    family="attention",
    cost="4 FB",
    source="Chefer et al. 2021, CVPR, equations 7 to 14, arXiv:2012.09838",
    scale_free=False,
)
def transformer_attribution(model: Model, x: Array, target: Target) -> Array:
    """Relevance at each block's attention times its gradient, rolled out down to the cells.

    Shape (k, n, rows, columns), not negative: the product over the blocks, from the first up, of the identity and the
    mean over the heads of the positive part of gradient times relevance. Relevance comes down by the authors' rules: one
    at the class, the z⁺ rule without biases at linear layers, half to each factor of a product, sums balanced within each
    image. Rows are those of the tokens that the score reads (of the class, of class and teacher, or all: their mean), less
    what each of them is to itself. Relevance may explode where values of both signs cancel.
    """
    trace, places, tokens = differentiated_attention(model, x, target)
    relevance = model.run(x, at=places, target=target, rule=positive_composite()).grads
    parts = [over_heads(relu(trace.grads[place] * relevance[place])) for place in places]
    return gathered(parts, trace.grads[tokens.name], tokens)
