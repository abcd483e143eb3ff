"""Parts of a model that run again on the way back (gradient checkpointing), where nobody watches any more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from sightline.errors import ModelError
from sightline.frameworks.torch.norms import steps_back

_AGAIN = "CheckpointFunctionBackward"  # of torch's older form, which keeps no graph of the part at first


def refuse_inside() -> None:
    """ModelError where what runs now will run again."""
    hooks = torch._C._autograd._top_saved_tensors_default_hooks(False) if torch.is_grad_enabled() else None
    if hooks and hooks[0].__module__ == "torch.utils.checkpoint":
        _refuse()


@contextmanager
def refusing_checkpoints(score: torch.Tensor) -> Iterator[None]:
    """ModelError where the gradient of a score that fails within it goes back through such a part."""
    try:
        yield
    except RuntimeError:
        if any(node.name() == _AGAIN for node in steps_back([score.grad_fn])):
            _refuse()
        raise


def _refuse() -> None:
    raise ModelError(
        "a part of the model runs again on the way back (gradient checkpointing), where no rule and no layer is reached.",
        "Switch that off (set_grad_checkpointing(False), gradient_checkpointing_disable(), memory_efficient=False).",
    )
