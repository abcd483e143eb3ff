"""The composite of ε and αβ."""

from __future__ import annotations

from sightline.arrays import Array
from sightline.method import Size, method
from sightline.model import Model, Target
from sightline.rules.lrp import composite, relevance
from sightline.rules.weights import alpha_beta_rule, epsilon_rule


@method(
    "gradient",
    "rule",
    family="backward rule",
    cost="7 FB",
    source="Kohlbrenner et al. 2020, arXiv:1910.09840",
)
def lrp_epsilon_alpha2_beta1(model: Model, x: Array, target: Target, *, epsilon: Size = 1e-6) -> Array:
    """Relevance by the ε rule in linear layers and the αβ rule (α 2, β 1) in convolutions.

    Shape (k, n, *image), signed, in units of score; it sums to the score less what biases and `epsilon` take, where
    every output has inputs of both kinds. Sharper than z⁺, with opposing evidence at a weight that is chosen, not found.
    """
    rule = composite(alpha_beta_rule(2.0, 1.0), epsilon_rule(epsilon), None, epsilon_rule(epsilon))
    return relevance(model, x, target, rule)
