"""What a row of the test table is made of: a method, its options, and its independent twin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import paper
from nets import native
from sightline.arrays import normal, to_numpy
from sightline.method import METHODS
from sightline.scores import as_target

Row = tuple[str, dict[str, Any], Callable[..., np.ndarray]]
"""Method, its options, its twin: (model, image number, class) -> (h, w[, c]). An option `layer` is a name of NET's."""

NET = paper.small_net()
RNG = np.random.default_rng(7)
IMAGES = RNG.normal(size=(2, 12, 12, 3))
BASELINE = RNG.normal(size=(2, 12, 12, 3))
CLASSES = (3, 1)  # two targets, for each image


def attribute(model: Any, name: str, **params: Any) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The attribution (k, n, h, w[, c]) of both classes by a method, channels last."""
    x = native(IMAGES, model)
    weights = np.zeros((len(CLASSES), len(IMAGES), 5))
    for k, c in enumerate(CLASSES):
        weights[k, :, c] = 1
    params = {key: _native(v, model) for key, v in params.items()}
    found, checks = METHODS[name].attribute(model, x, as_target(weights, x), **params)
    found = to_numpy(found)
    found = np.moveaxis(found, model.channel, -1) if found.ndim == 5 else found
    return found, {key: to_numpy(v) for key, v in checks.items()}


def _native(value: Any, model: Any) -> Any:
    """An option with its arrays, also those of a tuple, made the framework's own."""
    if isinstance(value, tuple):
        return tuple(_native(each, model) for each in value)
    return native(value, model) if isinstance(value, np.ndarray) else value


def draws(model: Any, count: int) -> np.ndarray:
    """The noise that the framework draws."""
    x = native(IMAGES, model)
    return np.stack([np.moveaxis(to_numpy(normal(x, 5, k)), model.channel, -1) for k in range(count)])
