"""Small Keras models in float64 with known weights, and derivatives taken by plain means."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers, ops
from keras.src.backend.common import dtypes

from nets import use_float64

use_float64()
dtypes.BIT64_TO_BIT32_DTYPE["float64"] = (
    "float64"  # else Keras computes means and products in float32 but on TensorFlow
)
BACKEND = os.environ["KERAS_BACKEND"]
SHAPE = (8, 8, 3)
IMAGES = np.random.default_rng(0).normal(size=(3, *SHAPE))
WIDE: dict[str, Any] = {"dtype": "float64"}


def image(name: str | None = None) -> Any:
    return keras.Input(SHAPE, name=name, dtype="float64")


def weighed(model: keras.Model, seed: int = 1) -> keras.Model:
    """`model` with random weights, and running variances that are positive."""
    rng = np.random.default_rng(seed)
    drawn = [(v, rng.normal(size=v.shape) * 0.4) for v in model.weights]
    model.set_weights([np.abs(w) + 0.5 if "variance" in v.path else w for v, w in drawn])
    return model


def backbone(name: str = "backbone") -> keras.Model:
    """Two convolutions with a skip connection around the second."""
    i = image()
    x = layers.Conv2D(5, 3, padding="same", activation="relu", name="conv1", **WIDE)(i)
    x = skip = layers.BatchNormalization(name="norm", **WIDE)(x)
    x = layers.Conv2D(5, 3, padding="same", name="conv2", **WIDE)(x)
    x = layers.Add(name="add", **WIDE)([x, skip])
    return keras.Model(i, layers.ReLU(max_value=6.0, name="relu6", **WIDE)(x), name=name)


def classifier(head: str | None = "softmax", *, separate: bool = False) -> keras.Model:
    """The backbone two deep inside a model, with a head that is an activation or a layer of its own."""
    i = image()
    x = keras.Sequential([image(), backbone()], name="outer")(i)
    x = layers.AveragePooling2D(2, name="pool", **WIDE)(ops.relu(x - 0.1))
    x = layers.Dense(4, name="dense", activation=None if separate else head, **WIDE)(layers.Flatten(**WIDE)(x))
    return weighed(keras.Model(i, layers.Activation(head, name="head", **WIDE)(x) if separate else x))


class Subclassed(keras.Model):
    """A model without a graph, whose call does not know of training."""

    def __init__(self, head: Callable[[Any], Any] = lambda x: x) -> None:
        super().__init__(**WIDE)
        self.body, self.flat, self.dense, self.last = backbone(), layers.Flatten(**WIDE), layers.Dense(4, **WIDE), head

    def call(self, x: Any) -> Any:
        return self.last(self.dense(self.flat(ops.relu(self.body(x) - 0.1))))


def subclassed(head: Callable[[Any], Any] = lambda x: x) -> keras.Model:
    model = Subclassed(head)
    model(IMAGES)
    return weighed(model)


def numbers(a: Any) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(a))


def close(found: Any, expected: Any, rtol: float = 1e-10) -> None:
    """Equal to `rtol` of the largest number expected."""
    found, expected = numbers(found), numbers(expected)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=rtol * max(float(np.abs(expected).max()), 1e-30))


def plain_gradient(function: Callable[[Any], Any], x: Any) -> np.ndarray:
    """The gradient of the sum of `function(x)`, by the backend's own means and nothing of sightline's."""
    x = ops.convert_to_tensor(x)
    if BACKEND == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(x)
            total = tf.reduce_sum(function(x))
        return numbers(tape.gradient(total, x))
    if BACKEND == "jax":
        import jax

        return numbers(jax.grad(lambda a: function(a).sum())(x))
    import torch

    x = x.detach().requires_grad_()
    return numbers(torch.autograd.grad(function(x).sum(), x)[0])


def slope(function: Callable[[np.ndarray], Any], x: Any, way: np.ndarray, step: float = 1e-6) -> np.ndarray:
    """The derivative of `function` at `x` in the direction `way`, by central differences."""
    x = numbers(x)
    return (numbers(function(x + step * way)) - numbers(function(x - step * way))) / (2 * step)
