"""Rules for ReLU alone."""

from __future__ import annotations

from sightline.arrays import Array, rectified, relu
from sightline.model import Back, Op, Outgoing
from sightline.rules.only import only


@only("relu")
def guided(op: Op) -> Outgoing:
    """ReLU lets through what is positive going forward *and* backward (Springenberg et al. 2015, figure 1)."""
    return Outgoing(rectified)


@only("relu")
def deconv(op: Op) -> Back:
    """ReLU lets through what is positive going backward, whatever came forward (Zeiler and Fergus 2014, section 2.1)."""
    return _positive


def _positive(y: Array, grad_y: Array) -> tuple[Array]:
    return (relu(grad_y),)
