"""Guided Grad-CAM."""

from __future__ import annotations

from sightline.arrays import Array, namespace, resize, sides
from sightline.method import method
from sightline.methods.grad_cam import grad_cam
from sightline.methods.guided_backprop import guided_backprop
from sightline.model import Layer, Model, Target


@method(
    "gradient",
    "layer",
    "rule",
    family="backward rule",
    cost="1 F + tail + 1 FB",
    source="Selvaraju et al. 2017, section 3.2, arXiv:1610.02391",
    reduce="max-abs",
)
def guided_grad_cam(model: Model, x: Array, target: Target, *, layer: Layer) -> Array:
    """Guided backpropagation times Grad-CAM, resized bilinearly to the image.

    Shape (k, n, *image). Sharp and tied to the class by its coarse factor alone; its fine detail is that of guided
    backpropagation, which hardly depends on the model's top layers.
    """
    cam = resize(grad_cam(model, x, target, layer=layer), sides(x, model.channel))
    return guided_backprop(model, x, target) * namespace(cam).expand_dims(cam, axis=model.channel)
