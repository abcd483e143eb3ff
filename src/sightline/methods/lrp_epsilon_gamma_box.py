"""The composite of ε, γ and z-box."""

from __future__ import annotations

from sightline.arrays import Array
from sightline.method import Size, method
from sightline.model import Model, Target
from sightline.rules.lrp import composite, relevance
from sightline.rules.weights import epsilon_rule, gamma_rule, z_box_rule


@method(
    "gradient",
    "rule",
    family="backward rule",
    cost="7 FB",
    source="Montavon et al. 2019, section 10.3, doi:10.1007/978-3-030-28954-6_10, in "
    "the form of zennit (Anders et al. 2021, arXiv:2106.13200)",
)
def lrp_epsilon_gamma_box(
    model: Model,
    x: Array,
    target: Target,
    *,
    epsilon: Size = 1e-6,
    gamma: Size = 0.25,
    low: Array = "black",
    high: Array = "white",
) -> Array:
    """Relevance by the ε rule in linear layers, γ in convolutions, and z-box where the image goes in.

    Shape (k, n, *image), signed, in units of score; it sums to the score less what biases and `epsilon` take. `low` and
    `high` are the least and the largest image, given as a baseline is: pixels outside of them break the rule's sense.
    γ and the box are chosen, not found.
    """
    rule = composite(gamma_rule(gamma), epsilon_rule(epsilon), z_box_rule, epsilon_rule(epsilon))
    return relevance(model, x, target, rule, low, high)
