"""Input times gradient."""

from __future__ import annotations

from sightline.arrays import Array
from sightline.method import method
from sightline.methods.gradient import gradient
from sightline.model import Model, Target


@method("gradient", family="gradient", cost="1 FB", source="Shrikumar et al. 2016, arXiv:1605.01713")
def input_x_gradient(model: Model, x: Array, target: Target) -> Array:
    """Gradient times the image, in the model's own input values.

    Shape (k, n, *image), signed, in units of score; it sums to the score for a net that is linear without biases.
    What the model's input calls zero (for most nets the mean colour) gets zero, however much it mattered.
    """
    return x * gradient(model, x, target)
