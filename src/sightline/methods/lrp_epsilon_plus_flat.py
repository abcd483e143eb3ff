"""The composite of ε, z⁺ and flat."""

from __future__ import annotations

from sightline.arrays import Array
from sightline.method import Size, method
from sightline.model import Model, Target
from sightline.rules.lrp import composite, relevance
from sightline.rules.weights import alpha_beta_rule, epsilon_rule, flat_rule


@method(
    "gradient",
    "rule",
    family="backward rule",
    cost="4 FB",
    source="Kohlbrenner et al. 2020, arXiv:1910.09840; Lapuschkin et al. 2019, arXiv:1902.10178",
)
def lrp_epsilon_plus_flat(model: Model, x: Array, target: Target, *, epsilon: Size = 1e-6) -> Array:
    """Relevance by the ε rule in linear layers, z⁺ in convolutions, and flat where the image goes in.

    Shape (k, n, *image), signed, in units of score; it sums to the score less what biases and `epsilon` take. Smooth
    and stable, but the first layer spreads it evenly over its window: no finer than that, and no colour channel apart.
    """
    rule = composite(alpha_beta_rule(1.0, 0.0), epsilon_rule(epsilon), flat_rule, epsilon_rule(epsilon))
    return relevance(model, x, target, rule)
