"""Models of every kind that can be asked, with known weights, and images of different classes."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

import paper
from nets import FRAMEWORK, build, use_float64

use_float64()

LABELS = ("cat", "dog", "up", "5", "cat - dog")
NET = paper.small_net()
RNG = np.random.default_rng(0)
MAPS: paper.Net = [NET[0], NET[1], ("conv", "conv2", RNG.normal(size=(3, 3, 4, 5)), RNG.normal(size=5))]
IMAGES = RNG.normal(size=(3, 12, 12, 3)) + RNG.normal(size=(3, 1, 1, 3))  # of different colours, so classes
WAY = RNG.normal(size=(12, 12, 3))
ANSWERS = np.stack([paper.scores(NET, image) for image in IMAGES])
ONE = paper.small_net(seed=3, classes=1)
ONE[-1][3][:] -= np.median([paper.scores(ONE, image) for image in IMAGES]) - 0.1  # one above zero, and one below
NUMBERS = np.concatenate([paper.scores(ONE, image) for image in IMAGES])


@cache
def asked() -> dict[str, Any]:
    """A classifier, a regression, a binary classifier, one with a softmax, and a segmentation."""
    return {
        "classes": build(NET),
        "number": build(ONE),
        "binary": with_head(build(ONE), "sigmoid"),
        "softmax": with_head(build(NET), "softmax"),
        "maps": build(MAPS),
    }


def with_head(model: Any, head: str) -> Any:
    """The model with a softmax or sigmoid behind it."""
    if FRAMEWORK == "torch":
        from torch import nn

        return nn.Sequential(model, {"sigmoid": nn.Sigmoid(), "softmax": nn.Softmax(1)}[head])
    import keras

    return keras.Model(model.input, keras.layers.Activation(head, dtype="float64")(model.output))


def as_input(images: np.ndarray) -> np.ndarray:
    """In the model's own layout."""
    return np.moveaxis(images, -1, 1) if FRAMEWORK == "torch" else images
