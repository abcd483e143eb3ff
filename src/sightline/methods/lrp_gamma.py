"""Layer-wise relevance propagation by the γ rule."""

from __future__ import annotations

from sightline.arrays import Array
from sightline.method import Size, method
from sightline.model import Model, Target
from sightline.rules.lrp import composite, relevance
from sightline.rules.weights import gamma_rule


@method(
    "gradient",
    "rule",
    family="backward rule",
    cost="7 FB",
    source="Montavon et al. 2019, section 10.2.1, doi:10.1007/978-3-030-28954-6_10; for both signs Andéol et al. 2021",
)
def lrp_gamma(model: Model, x: Array, target: Target, *, gamma: Size = 0.25) -> Array:
    """The score divided among the pixels, layer by layer, what speaks for an output counting 1 + γ times.

    Shape (k, n, *image), signed, in units of score; it sums to the score less what biases take. For an output below
    zero, what speaks against it counts more, so that no divisor is near zero. γ = 0 is the plain rule, a large γ the z⁺
    rule: how much of the opposing evidence is shown is a choice, not a finding.
    """
    rule = gamma_rule(gamma)
    return relevance(model, x, target, composite(rule, rule))
