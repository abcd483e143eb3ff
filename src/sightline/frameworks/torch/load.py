"""PyTorch models from a spec, and weights from a file."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sightline.errors import ModelError, UntrustedError, nearest
from sightline.frameworks import Source
from sightline.preprocessing import Preprocessing


def load(name: str, *, weights: str | None = None, trust: bool = False) -> Source:
    """The torchvision model called `name`, with its published weights, those of a file, or "random" ones."""
    from torchvision import models

    if name not in models.list_models():
        hint = nearest(name, models.list_models(), "torchvision.models.list_models()")
        raise ModelError(f"torchvision:{name} was given; torchvision has no model of that name.", hint)
    published = models.get_model_weights(name).DEFAULT
    labels = tuple(published.meta.get("categories", ()))
    if weights is None:
        return Source(_published(name, published), f"torchvision:{name}", _preprocessing(published), labels)
    module = models.get_model(name, weights=None, **_as_published(name))
    if weights != "random":
        module = with_weights(module, weights, trust=trust)
    return Source(module.eval(), f"torchvision:{name}", None, labels)


def _as_published(name: str) -> dict[str, Any]:
    """What makes the architecture that weights are published for, without fetching those of its backbone."""
    from torchvision import models

    known = inspect.signature(models.get_model_builder(name)).parameters
    return {key: value for key, value in (("weights_backbone", None), ("aux_loss", True)) if key in known}


def _published(name: str, weights: Any) -> nn.Module:
    from torchvision import models

    try:
        return models.get_model(name, weights=weights, progress=True).eval()
    except OSError as error:
        raise ModelError(
            f"torchvision:{name} was given; its weights could not be downloaded ({error}).",
            "Connect to the network, or give a file you have with weights (--weights FILE, and --preprocess).",
        ) from None


def _preprocessing(weights: Any) -> Preprocessing | None:
    preset = weights.transforms()
    if type(preset).__name__ == "ObjectDetection":  # a detector does the rest itself
        return Preprocessing()
    crop = getattr(preset, "crop_size", [None])  # none for a segmentation, two sides for video
    if not hasattr(preset, "resize_size") or len(crop) != 1:
        return None
    (resize,), how = preset.resize_size, preset.interpolation.value
    return Preprocessing(resize, crop[0], mean=tuple(preset.mean), std=tuple(preset.std), interpolation=how)


def with_weights(module: nn.Module, path: str, *, trust: bool = False) -> nn.Module:
    """`module` with the state dict of a .safetensors or .pth file; ModelError where the names or shapes do not fit."""
    state = _state(path, trust)
    own = module.state_dict()
    misfits = [k for k in own if k not in state or state[k].shape != own[k].shape]
    misfits = [k for k in misfits if not k.endswith("num_batches_tracked")] + [k for k in state if k not in own]
    if misfits:
        raise ModelError(
            f"{path} was given; {len(misfits)} of its weights do not fit the architecture, the first is {misfits[0]!r}.",
            "Name the architecture that these weights were trained for, with as many classes.",
        )
    module.load_state_dict(state, strict=False)
    return module


def _state(path: str, trust: bool) -> Mapping[str, torch.Tensor]:
    if not Path(path).is_file():
        raise ModelError(f"weights {path!r} were given; there is no such file.", "Check the path.")
    try:
        if path.endswith(".safetensors"):
            from safetensors.torch import load_file

            return _unwrapped(load_file(path), path)
        found = torch.load(path, map_location="cpu", weights_only=not trust)
    except Exception as error:
        refused = isinstance(error, pickle.UnpicklingError)  # also for a page of HTML, which torch takes for a pickle
        if refused and _is_pickled(path):
            raise UntrustedError(
                f"weights {path!r} were given; reading them would run code that is in the file.",
                "If you know who made it, allow that with trust=True (--trust); better, ask for a .safetensors file.",
            ) from None
        said = "PyTorch writes no file that begins like this." if refused else error
        raise ModelError(f"weights {path!r} were given; they cannot be read: {said}", "Check the file.") from None
    return _unwrapped(found, path)


def _is_pickled(path: str) -> bool:
    """Whether a file begins as an archive of torch's or as a pickle, which may hold code."""
    with Path(path).open("rb") as file:
        return file.read(2).startswith((b"PK", b"\x80"))


def _unwrapped(found: Any, path: str) -> Mapping[str, torch.Tensor]:
    """The state dict itself, out of a checkpoint's wrapping and a parallel model's prefix."""
    if isinstance(found, nn.Module):
        return dict(found.state_dict())
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    if not isinstance(found, Mapping) or not all(isinstance(v, torch.Tensor) for v in found.values()):
        raise ModelError(
            f"weights {path!r} were given; the file holds no state dict.", "Save one with model.state_dict()."
        )
    return {str(name).removeprefix("module."): value for name, value in found.items()}
