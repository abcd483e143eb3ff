"""Excitation backpropagation: probabilities that a neuron is the winner."""

from __future__ import annotations

from sightline.arrays import Array
from sightline.errors import ModelError
from sightline.model import Bent, Op, Through
from sightline.rules.lrp import composite
from sightline.rules.shares import ratio
from sightline.rules.weights import alpha_beta_rule, negative_part, own_sign_sums, positive_part

_excite = alpha_beta_rule(1.0, 0.0, False)
_winners = composite(_excite, _excite, sums=own_sign_sums, method="excitation backpropagation")


def excitation(op: Op) -> Bent:
    """A neuron hands its probability to its inputs by what they excite it (Zhang et al. 2016, equations 5 to 7)."""
    return None if op.kind == "output" else _winners(op)


def contrastive(op: Op) -> Bent:
    """The same, less the winners of the output that has the opposite weights (section 3.3)."""
    if op.kind != "output":
        return excitation(op)
    last = op.before
    if last is None or last.kind != "linear":
        raise ModelError(
            "the model's scores do not come from a linear layer; contrastive excitation backpropagation needs one.",
            "Use excitation-backprop.",
        )

    def back(y: Array, probability: Array) -> tuple[Array]:
        (up, pull_up), (down, pull_down) = positive_part(last, False), negative_part(last, False)
        return (pull_up(ratio(probability, up)) - pull_down(ratio(probability, down)),)

    return Through(back, last)
