"""PyTorch: the adapter and its loader."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import nn

from sightline.errors import ModelError
from sightline.frameworks.torch.hubs import load_hf, load_timm
from sightline.frameworks.torch.load import load as load
from sightline.frameworks.torch.load import with_weights as with_weights
from sightline.frameworks.torch.model import TorchModel, device_of

HUBS = {"timm": load_timm, "hf": load_hf}


def adapt(
    model: nn.Module,
    *,
    inputs: Mapping[str, Any] | None = None,
    input: str | None = None,
    output: str | int | None = None,
) -> TorchModel:
    """`model` behind the seam; see `sightline.load`."""
    given = {name: value.copy() if isinstance(value, np.ndarray) else value for name, value in (inputs or {}).items()}
    others = {name: torch.as_tensor(value) for name, value in given.items()}  # a copy has no negative strides
    return TorchModel(model, others, input, output, chunk=_images_in_a_pass(device_of(model)))


def _images_in_a_pass(device: torch.device) -> int:
    """Of 1 to 16 on a CPU the quickest for gradients: more leave the cache. On a GPU a quarter of a gigabyte for each,
    which is what ResNet-50 keeps of a photograph for its gradient; over 128 nothing is gained.
    """
    if device.type != "cuda":
        return 8 if device.type == "cpu" else 32
    held = int(torch.cuda.get_device_properties(device).total_memory) // 2**28
    return max(8, min(128, 1 << (held.bit_length() - 1)))


def fingerprint(model: nn.Module) -> str:
    """A hash of every parameter and buffer."""
    found = hashlib.blake2b(digest_size=8)
    for name, value in model.state_dict().items():
        if isinstance(value, torch.Tensor):
            found.update(name.encode())
            found.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return found.hexdigest()


def place(model: nn.Module, device: str | None) -> None:
    """Move a model to a device, without one to a GPU if there is any; ModelError where torch cannot."""
    if device is None:
        if any(t.device.type != "cpu" for t in _tensors(model)):
            return  # its maker has placed it
        device = _quickest(model)
    try:
        model.to(device)
    except (RuntimeError, AssertionError) as error:  # the latter from a torch that was built without the device
        raise ModelError(
            f"device {device!r} was given: {error}", "Use cpu, cuda, cuda:1 or mps, if it is there."
        ) from None


def _quickest(model: nn.Module) -> str:
    """CUDA, then MPS, which knows no float64, then the CPU."""
    if torch.cuda.is_available():
        return "cuda"
    wide = any(t.dtype in (torch.float64, torch.complex128) for t in _tensors(model))
    return "mps" if torch.backends.mps.is_available() and not wide else "cpu"


def _tensors(model: nn.Module) -> Iterator[torch.Tensor]:
    return chain(model.parameters(), model.buffers())


def fixed_size(model: nn.Module) -> None:
    """PyTorch's modules do not say."""


def versions() -> Mapping[str, str]:
    """PyTorch's version."""
    return {"torch": torch.__version__}
