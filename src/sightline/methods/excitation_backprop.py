"""Excitation backpropagation."""

from __future__ import annotations

from sightline.arrays import Array
from sightline.method import method
from sightline.model import Model, Target
from sightline.rules.excitation import excitation


@method(
    "gradient",
    "rule",
    family="backward rule",
    cost="4 FB",
    source="Zhang et al. 2016, equations 5 to 7, arXiv:1608.00507",
)
def excitation_backprop(model: Model, x: Array, target: Target) -> Array:
    """The probability that a pixel is the winner, when each neuron hands its own to the inputs that excite it.

    Shape (k, n, *image), not negative; it sums to 1 for a class, less what reaches neurons without excitation. Values
    below zero excite through negative weights; biases take nothing. Ask it at a layer for the paper's map. It shows
    what any class would find salient: the contrastive form tells classes apart.
    """
    return model.run(x, at=[""], target=target, rule=excitation).grads[""]
