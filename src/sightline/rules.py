"""Backward rules: what an operation's backward pass is when it is not the derivative."""

from __future__ import annotations

from sightline.arrays import Array, namespace, relu
from sightline.model import Back, Op


def guided(op: Op) -> Back | None:
    """ReLU lets through what is positive going forward *and* backward (Springenberg et al. 2015, figure 1)."""
    if op.kind != "relu":
        return None

    def back(y: Array, grad_y: Array) -> tuple[Array]:
        xp = namespace(y)
        return (xp.where((y > 0) & (y < op.params["limit"]), relu(grad_y), xp.zeros_like(grad_y)),)

    return back


def deconv(op: Op) -> Back | None:
    """ReLU lets through what is positive going backward, whatever came forward (Zeiler and Fergus 2014, section 2.1)."""
    return (lambda y, grad_y: (relu(grad_y),)) if op.kind == "relu" else None
