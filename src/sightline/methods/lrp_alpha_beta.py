"""Layer-wise relevance propagation by the αβ rule."""

from __future__ import annotations

from sightline.arrays import Array
from sightline.errors import MethodError
from sightline.method import Size, method
from sightline.model import Model, Target
from sightline.rules.lrp import composite, relevance
from sightline.rules.weights import alpha_beta_rule


@method(
    "gradient",
    "rule",
    family="backward rule",
    cost="7 FB",
    source="Bach et al. 2015, equation 60, doi:10.1371/journal.pone.0130140",
)
def lrp_alpha_beta(model: Model, x: Array, target: Target, *, alpha: Size = 2.0, beta: Size = 1.0) -> Array:
    """The score divided among the pixels, layer by layer: α shares of what speaks for an output, less β of what is against.

    Shape (k, n, *image), signed, in units of score; it sums to the score less what biases take, where every output has
    inputs of both kinds. α - β is 1 (else MethodError). The weight of the opposing evidence is chosen, not found.
    """
    if abs(alpha - beta - 1) > 1e-9:
        raise MethodError(
            f"alpha={alpha} and beta={beta} were given; alpha - beta must be 1.", "Give 2 and 1, or 1 and 0."
        )
    rule = alpha_beta_rule(alpha, beta)
    return relevance(model, x, target, composite(rule, rule))
