"""Test-time augmentation, for any method."""

from __future__ import annotations

from functools import partial
from itertools import product
from typing import Any

from sightline.arrays import Array, namespace
from sightline.errors import TargetError
from sightline.method import find, method
from sightline.model import Model, Target
from sightline.stream import along, groups, split

_FACTORS = (0.9, 1.0, 1.1)  # of the model's input


@method(
    family="wrapper",
    cost="1 F + 6 × the method wrapped",
    source="Gildenblat et al. 2021, pytorch-grad-cam: aug_smooth (no paper)",
)
def augmented(model: Model, x: Array, target: Target, *, of: str = "grad-cam", **params: Any) -> Array:
    """Another method's attribution, averaged over the image and its mirror image, each times 0.9, 1 and 1.1.

    Maps of the mirror image are turned back. Shape and units are those of the method `of`. The factors are those of the
    model's input, so of the contrast where that is centred. (pytorch-grad-cam stretches each of the six maps to 0..1
    before it averages them.) It shows what the copies have in common; what the model sees on one side only, it halves.
    TargetError for a segmentation, whose places a mirror moves.
    """
    if model.run(x, target=target).outputs.ndim > 2:
        raise TargetError(
            "a target with a place was given; augmented looks at mirror images, in which it lies elsewhere.",
            "Explain it without augmentation, or a class.",
        )
    total = 0.0
    copies = list(product((False, True), _FACTORS))
    for group in groups(model, x, copies):
        change = partial(_changed, group=group, channel=model.channel)
        given = {name: along(v, x, change) for name, v in params.items()}
        found, _ = find(of).attribute(model, change(x), target.repeat(len(group)), **given)
        each, whole = split(found, len(group), 1), found.ndim == x.ndim + 1
        for i, (mirrored, _) in enumerate(group):
            one = each[:, i, ...]
            total = total + (_mirrored(one, model.channel if whole else 0) if mirrored else one) / len(copies)
    return total


def _changed(a: Array, group: list[tuple[bool, float]], channel: int) -> Array:
    """The copies of a group, behind each other."""
    copies = [(_mirrored(a, channel) if mirrored else a) * factor for mirrored, factor in group]
    return namespace(a).concat(copies, axis=0)


def _mirrored(a: Array, channel: int) -> Array:
    """`a` with left and right exchanged: its last axis, or the one before where that holds the channels."""
    return namespace(a).flip(a, axis=-2 if channel == -1 else -1)
