"""How a module is called with images: as it is; a detector with a list; a model of image and text on its image side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from sightline.frameworks.torch.detectors import as_detections, candidates, is_torchvision


def entered(module: nn.Module, x: torch.Tensor, call: Callable[[Any], Any]) -> Any:
    """What `module` gives for the images `x`: a tensor, or what its library packs several in.

    `call` is the plain call of the module, which has no other inputs.
    """
    if is_torchvision(module, "GeneralizedRCNN"):
        return candidates(module, x)
    if is_torchvision(module):
        return as_detections(module, call(list(x)), x)
    if _has_text(module):
        return module.get_image_features(pixel_values=x).pooler_output
    return as_detections(module, call(x), x)


def _has_text(module: nn.Module) -> bool:
    """Whether it is a Hugging Face model of image and text, which would ask for both."""
    return type(module).__module__.startswith("transformers.") and hasattr(module, "get_text_features")
