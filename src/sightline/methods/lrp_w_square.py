"""Layer-wise relevance propagation by the w² rule."""

from __future__ import annotations

from sightline.arrays import Array
from sightline.method import method
from sightline.model import Model, Target
from sightline.rules.lrp import composite, relevance
from sightline.rules.weights import equal_sums, w_square_rule


@method(
    "gradient",
    "rule",
    family="backward rule",
    cost="3 FB",
    source="Montavon et al. 2017, equation 12, arXiv:1512.02479",
)
def lrp_w_square(model: Model, x: Array, target: Target) -> Array:
    """The score divided among the pixels, layer by layer, in proportion to the squared weights alone.

    Shape (k, n, *image), in units of score; it sums to the score. At every layer it knows of the image only where
    max-pooling has its winners: it shows where the model can look, hardly what it saw. Meant for a first layer.
    """
    return relevance(model, x, target, composite(w_square_rule, w_square_rule, sums=equal_sums))
