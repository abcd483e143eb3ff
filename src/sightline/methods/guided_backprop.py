"""Guided backpropagation."""

from __future__ import annotations

from sightline.arrays import Array
from sightline.method import method
from sightline.model import Model, Target
from sightline.rules import guided


@method(
    "gradient",
    "rule",
    family="backward rule",
    cost="1 FB",
    source="Springenberg et al. 2015, arXiv:1412.6806",
    reduce="max-abs",
)
def guided_backprop(model: Model, x: Array, target: Target) -> Array:
    """Gradient in which every ReLU lets through only what is positive forward and backward.

    Shape (k, n, *image). ModelError where no ReLU is met. It draws edges of the picture and hardly depends on the
    class or on the top layers (Adebayo et al. 2018): no evidence of what the model used.
    """
    return model.run(x, at=[""], target=target, rule=guided).grads[""]
