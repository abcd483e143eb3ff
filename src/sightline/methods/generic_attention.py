"""Generic attention explainability."""

from __future__ import annotations

from sightline.arrays import Array, relu
from sightline.method import method
from sightline.methods._attention import differentiated_attention, gathered, over_heads
from sightline.model import Model, Target


@method(
    "gradient",
    "attention",
    family="attention",
    cost="1 FB",
    source="Chefer et al. 2021, ICCV, equations 5 and 6, arXiv:2103.15679",
    scale_free=False,
)
def generic_attention(model: Model, x: Array, target: Target) -> Array:
    """Relevance of the cells to the tokens that the score reads, gathered from each block's attention times its gradient.

    Shape (k, n, rows, columns), not negative: R is the identity, and each block adds Ā R to it, Ā the mean over the heads
    of the positive part of attention times gradient (the rule for self-attention). Rows are those of the tokens that the
    score reads (of the class, of class and teacher, or all: their mean), less what each of them is to itself. It counts
    what speaks for the score alone.
    """
    trace, places, tokens = differentiated_attention(model, x, target)
    parts = [over_heads(relu(trace.values[place] * trace.grads[place])) for place in places]
    return gathered(parts, trace.grads[tokens.name], tokens)
