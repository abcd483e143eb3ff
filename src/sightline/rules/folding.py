"""Batch normalisation folded into the operation before it, inside the pass."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from sightline.arrays import Array, namespace
from sightline.model import Op


def is_batch_norm(op: Op) -> bool:
    """Whether the operation scales and shifts each channel by fixed numbers."""
    return op.kind == "norm" and op.params.get("mean") is not None


def folded(op: Op) -> Op | None:
    """The convolution or linear layer before a batch normalisation, with weights that do the work of both.

    None where there is none, or its weights do not go with the channels.
    """
    before = op.before
    if before is None or not is_batch_norm(op) or before.params.get("per_channel") is None:
        return None
    scale, shift = _affine(op)
    xp, weight, bias = namespace(scale), before.params["weight"], before.params["bias"]
    own = {
        "weight": weight * xp.reshape(scale, before.params["per_channel"]),
        "bias": shift if bias is None else bias * scale + shift,
    }

    def again(*args: Array, **changed: Any) -> Any:
        return before.again(*args, **(own | changed))

    pull = before.pull and partial(before.pull, weight=own["weight"])
    return replace(before, params={**before.params, **own}, again=again, pull=pull)


def _affine(op: Op) -> tuple[Array, Array]:
    """What each channel is multiplied by, and what is added then."""
    mean, variance, weight, bias = (op.params[name] for name in ("mean", "variance", "weight", "bias"))
    scale = 1 / namespace(variance).sqrt(variance + op.params["epsilon"])
    scale = scale if weight is None else scale * weight
    return scale, -mean * scale if bias is None else bias - mean * scale
