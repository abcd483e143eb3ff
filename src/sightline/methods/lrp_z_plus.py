"""Layer-wise relevance propagation by the z⁺ rule."""

from __future__ import annotations

from sightline.arrays import Array
from sightline.method import method
from sightline.model import Model, Target
from sightline.rules.lrp import composite, relevance
from sightline.rules.weights import alpha_beta_rule, own_sign_sums


@method(
    "gradient",
    "rule",
    family="backward rule",
    cost="4 FB",
    source="Montavon et al. 2017, equation 13, arXiv:1512.02479; Bach et al. 2015, equation 60, with α = 1",
)
def lrp_z_plus(model: Model, x: Array, target: Target) -> Array:
    """The score divided among the pixels, layer by layer, by what is positive of what each input brings.

    Shape (k, n, *image), of the sign of the score, in units of score; it sums to the score less what positive biases
    take. It cannot show what speaks against the target, and maps of different classes look alike.
    """
    rule = alpha_beta_rule(1.0, 0.0)
    return relevance(model, x, target, composite(rule, rule, sums=own_sign_sums))
