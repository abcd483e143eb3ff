"""Contrastive excitation backpropagation."""

from __future__ import annotations

from sightline.arrays import Array
from sightline.method import method
from sightline.model import Model, Target
from sightline.rules.excitation import contrastive


@method(
    "gradient",
    "rule",
    family="backward rule",
    cost="4 FB",
    source="Zhang et al. 2016, section 3.3, arXiv:1608.00507",
)
def contrastive_excitation_backprop(model: Model, x: Array, target: Target) -> Array:
    """Excitation backpropagation from the target, less that from an output whose weights are the target's negated.

    Shape (k, n, *image), signed; it sums to 0 but for what reaches neurons without excitation: where it is positive,
    the target wins more than its opposite. The paper shows the positive part. The scores must come from a linear layer.
    It cannot tell how much a winner changes the score.
    """
    return model.run(x, at=[""], target=target, rule=contrastive).grads[""]
