"""AttnLRP."""

from __future__ import annotations

from sightline.arrays import Array
from sightline.method import Size, method
from sightline.model import Model, Target
from sightline.rules.attention import attention_composite
from sightline.rules.lrp import relevance
from sightline.rules.weights import epsilon_rule, gamma_rule


@method(
    "gradient",
    "rule",
    family="backward rule",
    cost="3 FB; with gamma 7 FB",
    source="Achtibat et al. 2024, section 3, arXiv:2402.05602",
)
def attn_lrp(model: Model, x: Array, target: Target, *, epsilon: Size = 1e-6, gamma: Size = 0.0) -> Array:
    """Layer-wise relevance propagation for transformers, with rules for softmax, products and normalisation.

    Shape (k, n, *image), signed, in units of score; it sums to the score less what biases, `epsilon`, each softmax and
    a class token take. `gamma` puts the γ rule in place of the ε rule, as the paper does for vision transformers.
    Relevance that goes through attention weights is a local linear guess.
    """
    weights = gamma_rule(gamma) if gamma else epsilon_rule(epsilon)
    return relevance(model, x, target, attention_composite(weights, epsilon))
