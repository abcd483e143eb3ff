"""The net of `paper.py` in the framework of this process, with the same weights."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from paper import Net

FRAMEWORK = os.environ["SIGHTLINE_TEST_FRAMEWORK"]
ALL = ("torch", "keras-tensorflow", "keras-jax", "keras-torch")


def use_float64() -> None:
    """Let JAX compute in float64; the other frameworks do so by themselves."""
    if FRAMEWORK == "keras-jax":
        import jax

        jax.config.update("jax_enable_x64", True)


def build(net: Net, size: int = 12, dtype: str = "float64") -> Any:
    """The user's model."""
    return _torch(net, dtype) if FRAMEWORK == "torch" else _keras(net, size, dtype)


def _torch(net: Net, dtype: str) -> Any:
    from collections import OrderedDict

    import torch
    from torch import nn

    layers: OrderedDict[str, Any] = OrderedDict()
    for kind, name, *weights in net:
        if kind == "conv":
            kernel = torch.as_tensor(weights[0].transpose(3, 2, 0, 1).copy())
            layers[name] = nn.Conv2d(kernel.shape[1], kernel.shape[0], 3, padding=1)
            layers[name].weight.data, layers[name].bias.data = kernel, torch.as_tensor(weights[1])
        elif kind == "linear":
            layers[name] = nn.Linear(*weights[0].shape)
            layers[name].weight.data, layers[name].bias.data = (
                torch.as_tensor(weights[0].T.copy()),
                torch.as_tensor(weights[1]),
            )
        elif kind == "mean":
            layers[name], layers["flatten"] = nn.AdaptiveAvgPool2d(1), nn.Flatten()
        else:
            layers[name] = {"relu": nn.ReLU(inplace=True), "pool": nn.MaxPool2d(2)}[kind]
    return nn.Sequential(layers).to(getattr(torch, dtype))


def _keras(net: Net, size: int, dtype: str) -> Any:
    import keras

    make = {
        "relu": lambda name: keras.layers.ReLU(name=name, dtype=dtype),
        "pool": lambda name: keras.layers.MaxPooling2D(name=name, dtype=dtype),
        "mean": lambda name: keras.layers.GlobalAveragePooling2D(name=name, dtype=dtype),
    }
    image = keras.Input((size, size, net[0][2].shape[2]), dtype=dtype)
    x = image
    for kind, name, *weights in net:
        if kind == "conv":
            x = keras.layers.Conv2D(weights[1].size, 3, padding="same", name=name, dtype=dtype)(x)
        elif kind == "linear":
            x = keras.layers.Dense(weights[1].size, name=name, dtype=dtype)(x)
        else:
            x = make[kind](name)(x)
    model = keras.Model(image, x)
    model.set_weights([w for _, _, *weights in net for w in weights])
    return model


def native(images: np.ndarray, model: Any) -> Any:
    """Images (n, h, w, c) as the framework's own array in the model's own layout."""
    return model.array(np.ascontiguousarray(np.moveaxis(images, -1, model.channel)))
