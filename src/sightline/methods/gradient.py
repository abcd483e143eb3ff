"""The gradient."""

from __future__ import annotations

from sightline.arrays import Array
from sightline.method import method
from sightline.model import Model, Target


@method(
    "gradient",
    family="gradient",
    cost="1 FB",
    source="Simonyan et al. 2013, section 3, arXiv:1312.6034",
    reduce="max-abs",
)
def gradient(model: Model, x: Array, target: Target) -> Array:
    """Gradient of the score with respect to the image.

    Shape (k, n, *image), in units of score over units of the model's input; as a map, the maximum of its absolute
    value over the channels (Simonyan et al. 2013, section 3.1). It tells what a small change would do, not what the
    model used: where a ReLU is shut it is zero, however much the pixel mattered.
    """
    return model.run(x, at=[""], target=target).grads[""]
