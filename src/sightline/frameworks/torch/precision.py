"""Passes in a lower precision than the model's own: torch's autocast, for the length of a pass and in this thread alone."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from sightline.errors import ModelError

_LOWER = ("bfloat16", "float16")


def checked(name: str, weight: torch.Tensor | None) -> torch.dtype | None:
    """The precision called `name` for a model with that weight; None where it is the model's own. ModelError for others."""
    own = torch.get_default_dtype() if weight is None else weight.dtype
    if name == told(own):
        return None
    if name not in _LOWER or own != torch.float32:
        raise ModelError(
            f"precision={name!r} was given for a model in {told(own)}; expected float32, or bfloat16 or float16 for one in "
            "float32.",
            "Leave it out to explain the model as it is, or convert the model yourself: model.float().",
        )
    device = "cpu" if weight is None else weight.device.type
    if name == "float16" and device != "cuda":
        raise ModelError(
            f"precision='float16' was given for a model on the device {device}; expected one on cuda.", "Use bfloat16."
        )
    dtype: torch.dtype = getattr(torch, name)
    return dtype


def told(dtype: torch.dtype) -> str:
    """What a precision is called."""
    return str(dtype).removeprefix("torch.")


def tensor_float(weight: torch.Tensor | None) -> str:
    """Where passes of a model with that weight round float32 to TensorFloat-32, as PyTorch is set: "" for nowhere."""
    if weight is None or weight.device.type != "cuda" or weight.dtype != torch.float32:
        return ""
    kinds = {"convolutions": torch.backends.cudnn.conv, "matrix products": torch.backends.cuda.matmul}
    rounded = [name for name, kind in kinds.items() if kind.fp32_precision == "tf32"]
    return f", tf32 in {' and '.join(rounded)}" if rounded and torch.cuda.is_tf32_supported() else ""


def casting(device: torch.device, precision: torch.dtype | None) -> AbstractContextManager[Any]:
    """A pass in that precision; in the model's own also where the caller is inside an autocast."""
    if precision is None and not torch.is_autocast_enabled(device.type):
        return nullcontext()
    cast: AbstractContextManager[Any] = torch.autocast(device.type, dtype=precision, enabled=precision is not None)
    return cast


def as_now(device: torch.device) -> AbstractContextManager[Any]:
    """For a backward pass, which may run in another thread: the autocast that is on in this one."""
    kind = device.type
    if not torch.is_autocast_enabled(kind):
        return nullcontext()
    cast: AbstractContextManager[Any] = torch.autocast(kind, dtype=torch.get_autocast_dtype(kind))
    return cast
