"""Finer-CAM, for any method that explains a class."""

from __future__ import annotations

from typing import Any

import numpy as np

from sightline.arrays import Array, to_numpy
from sightline.method import Checks, Count, Size, find, method
from sightline.methods._cam import check_is_class
from sightline.model import Model, Target
from sightline.scores import as_target, classes


@method(
    family="wrapper",
    cost="1 F + the method wrapped",
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
    trace = check_is_class(model, x, target, "Finer-CAM")
    contrast = _contrast(to_numpy(classes(trace.outputs)), to_numpy(trace.score), gamma, references)
    if trace.outputs.shape[1] == 1:  # one output z has the classes -z and z
        contrast = contrast[..., 1:] - contrast[..., :1]
    return find(of).attribute(model, x, as_target(contrast, trace.outputs), **params)


def _contrast(known: np.ndarray, score: np.ndarray, gamma: float, references: int) -> np.ndarray:
    """What each class (n, classes) weighs in the contrast of the scores (k, n): (k, n, classes)."""
    distance = np.abs(known - score[..., None])
    own = distance == 0
    rank = np.argsort(np.argsort(np.where(own, np.inf, distance), axis=-1), axis=-1)
    return _even(own) - gamma * _even((rank < references) & ~own)


def _even(chosen: np.ndarray) -> np.ndarray:
    return np.asarray(chosen / np.maximum(chosen.sum(axis=-1, keepdims=True), 1))
