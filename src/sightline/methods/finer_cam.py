"""Finer-CAM, for any method that explains a class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sightline.arrays import Array, namespace
from sightline.method import Checks, Count, Size, find, method
from sightline.methods._cam import check_is_class, classes, over
from sightline.model import Model, Target


@method(
    family="wrapper",
    cost="1 × the method wrapped",
    source="Zhang et al. 2025, equations 4 to 6, arXiv:2501.11309",
)
def finer_cam(
    model: Model,
    x: Array,
    target: Target,
    *,
    of: str = "grad-cam",
    gamma: Size = 0.6,
    references: Count = 3,
    **params: Any,
) -> tuple[Array, Checks]:
    """Another method's attribution of a class's score less `gamma` times the mean of those of the classes nearest to it.

    The nearest are the `references` other classes whose scores in this image differ least from the class's own; fewer
    where there are not as many. Shape and units are those of the method `of`; for Grad-CAM the mean over the references
    of the paper's maps before the rectifier. TargetError for a target that is no class. (pytorch-grad-cam has
    `gamma` 1 and weighs the references by their probabilities.) It tells one class from those near it, and drops what
    they have in common, which may be most of the evidence.
    """
    attribution, checks = find(of).attribute(model, x, target.then(_Finer(gamma, references)), **params)
    check_is_class(model, x, target, "Finer-CAM")
    return attribution, checks


@dataclass(frozen=True)
class _Finer:
    """The contrast inside a pass; equal for equal options."""

    gamma: float
    references: int

    def __call__(self, outputs: Array, score: Array) -> Array:
        xp, known = namespace(outputs), classes(outputs)[None, ...]
        distance = xp.abs(known - score[..., None])
        far = xp.where(distance == 0, distance + np.inf, distance)  # the class itself
        near = (xp.argsort(xp.argsort(far, axis=-1), axis=-1) < self.references) & (distance > 0)
        counted = xp.astype(near, known.dtype)
        return score - self.gamma * over(xp.sum(counted * known, axis=-1), xp.sum(counted, axis=-1))
