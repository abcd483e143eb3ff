"""Layer-wise relevance propagation by the ε rule."""

from __future__ import annotations

from sightline.arrays import Array
from sightline.method import Size, method
from sightline.model import Model, Target
from sightline.rules.lrp import composite, relevance
from sightline.rules.weights import epsilon_rule


@method(
    "gradient",
    "rule",
    family="backward rule",
    cost="1 FB",
    source="Bach et al. 2015, equation 58, doi:10.1371/journal.pone.0130140",
)
def lrp_epsilon(model: Model, x: Array, target: Target, *, epsilon: Size = 1e-6) -> Array:
    """The score divided among the pixels, layer by layer, in proportion to what each input brings to each output.

    Shape (k, n, *image), signed, in units of score; it sums to the score less what biases and `epsilon` take. Without
    biases, and with a small `epsilon`, it is input times gradient, and as noisy: nearly cancelling sums make large
    relevance of both signs. The passing of pooling, addition and normalisation is told in `sightline.rules.lrp`.
    """
    rule = epsilon_rule(epsilon)
    return relevance(model, x, target, composite(rule, rule, sums=rule))
