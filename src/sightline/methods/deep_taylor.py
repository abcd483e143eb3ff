"""Deep Taylor decomposition."""

from __future__ import annotations

from sightline.arrays import Array
from sightline.method import method
from sightline.model import Model, Target
from sightline.rules.lrp import composite, relevance
from sightline.rules.weights import alpha_beta_rule, own_sign_sums, z_box_rule


@method(
    "gradient",
    "rule",
    family="backward rule",
    cost="4 FB",
    source="Montavon et al. 2017, equations 13 and 15, arXiv:1512.02479",
)
def deep_taylor(model: Model, x: Array, target: Target, *, low: Array = "black", high: Array = "white") -> Array:
    """Relevance by the z⁺ rule in every layer, and z-box where the image goes in.

    Shape (k, n, *image), of the sign of the score, and sums to it less what comes to outputs that nothing excites but a
    bias. `low` and `high` are the least and the largest image, given as a baseline is. The theory asks for biases that
    are not positive, which trained nets do not keep; it cannot show what speaks against the target.
    """
    rule = alpha_beta_rule(1.0, 0.0, False)
    return relevance(model, x, target, composite(rule, rule, z_box_rule, own_sign_sums), low, high)
