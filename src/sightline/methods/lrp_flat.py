"""Layer-wise relevance propagation by the flat rule."""

from __future__ import annotations

from sightline.arrays import Array
from sightline.method import method
from sightline.model import Model, Target
from sightline.rules.lrp import composite, relevance
from sightline.rules.weights import equal_sums, flat_rule


@method(
    "gradient",
    "rule",
    family="backward rule",
    cost="3 FB",
    source="Lapuschkin et al. 2019, supplementary note 1, arXiv:1902.10178",
)
def lrp_flat(model: Model, x: Array, target: Target) -> Array:
    """The score divided among the pixels, layer by layer, in equal shares.

    Shape (k, n, *image), in units of score; it sums to the score. At every layer it knows of weights nothing and
    of the image only where max-pooling has its winners: it shows receptive fields. Meant for a first layer.
    """
    return relevance(model, x, target, composite(flat_rule, flat_rule, sums=equal_sums))
