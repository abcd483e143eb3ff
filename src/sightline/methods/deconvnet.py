"""The deconvolutional net."""

from __future__ import annotations

from sightline.arrays import Array
from sightline.method import method
from sightline.model import Model, Target
from sightline.rules import deconv


@method(
    "gradient",
    "rule",
    family="backward rule",
    cost="1 FB",
    source="Zeiler and Fergus 2014, section 2.1, arXiv:1311.2901",
    reduce="max-abs",
)
def deconvnet(model: Model, x: Array, target: Target) -> Array:
    """The score sent back through transposed filters, the switches of max-pooling, and a rectifier at every ReLU.

    Shape (k, n, *image). The backward signal is rectified, whatever came forward; transposed filters and unpooling by
    switches are what the derivative of convolution and max-pooling does. ModelError where no ReLU is met. As guided
    backpropagation, it draws the picture's structure rather than the model's reasons.
    """
    return model.run(x, at=[""], target=target, rule=deconv).grads[""]
