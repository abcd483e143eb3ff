"""Passes compiled by torch.compile, on request: those that have nothing to record or to change on the way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from sightline.errors import ModelError, told_by
from sightline.frameworks.torch.looks import HOOKS, look
from sightline.frameworks.torch.pool import Spare

BACKEND = "inductor"
NOTE = (
    "passes from the image to the scores and back were compiled; those with layers to record or to change, with a rule, or "
    "of a model that ends in a softmax or sigmoid were not"
)


def compiled(spare: Spare) -> Callable[..., Any]:
    """The twin, compiled when it is first called and kept with it; ModelError where that fails."""
    if spare.compiled is None:
        spare.compiled = torch.compile(spare.module, backend=BACKEND, dynamic=True)
        spare.own = spare.own[0], look(spare.own[0], HOOKS)  # torch notes in the module that it was compiled
    inner = spare.compiled

    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return inner(*args, **kwargs)
        except torch._dynamo.exc.TorchDynamoException as error:
            raise ModelError(
                f"compile=True was given; torch.compile cannot compile this model here: {told_by(error)}",
                "Leave compile out; it needs a C++ compiler (CPU) or Triton (CUDA).",
            ) from error

    return call
