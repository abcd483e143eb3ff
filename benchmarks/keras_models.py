"""Keras models with random weights, and their bare passes, compiled by TensorFlow or by JAX."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import keras
import numpy as np

import sightline as sl
from benchmarks.clock import Limit, Part, Run
from benchmarks.families import Family

Pass = Callable[[Any], Any]


@dataclass(frozen=True)
class Subject:
    """A model of keras.applications, and a batch of 224 x 224."""

    name: str
    net: keras.Model
    batch: int = 1

    @cached_property
    def x(self) -> Any:
        """The images, as the backend's own array."""
        images = np.random.default_rng(0).normal(size=(self.batch, 224, 224, 3)).astype(np.float32)
        return keras.ops.convert_to_tensor(images)

    @cached_property
    def loaded(self) -> sl.Loaded:
        """The model as sightline takes it."""
        return sl.load(self.net)

    @cached_property
    def classes(self) -> list[int]:
        """The top class of each image, which the peers are told."""
        return np.argmax(keras.ops.convert_to_numpy(self.net(self.x)), axis=-1).tolist()

    @cached_property
    def passes(self) -> dict[str, Pass]:
        """The bare passes to the scores before the softmax: forward, and with the gradient at the images."""
        trunk = keras.Model(self.net.inputs[0], self.net.layers[-2].output)
        forward, backward = (_on_jax if keras.backend.backend() == "jax" else _on_tensorflow)(
            trunk, self.net.layers[-1]
        )
        return {"F": forward, "FB": backward}

    def limit(self, family: Family) -> Limit:
        """The bare passes of a method: of the batch itself, or full ones of copies of the image."""
        if family.passes == 1:
            return self._once[family.unit]
        bare, pack = self.passes[family.unit], keras.ops.repeat(self.x, self.loaded.model.chunk, axis=0)
        packs = max(1, min(3, family.passes // len(pack) // 2))
        forward = (Part("F", family.forward, self._run("F")),) if family.forward else ()
        return (
            Part(family.unit, family.passes, lambda: [bare(pack) for _ in range(packs)], packs * len(pack)),
            *forward,
        )

    @cached_property
    def _once(self) -> dict[str, Limit]:
        return {unit: (Part(unit, 1, self._run(unit)),) for unit in ("F", "FB")}

    def _run(self, unit: str) -> Run:
        return lambda: self.passes[unit](self.x)


def _on_tensorflow(trunk: keras.Model, last: keras.Layer) -> tuple[Pass, Pass]:
    import tensorflow as tf

    spec = [tf.TensorSpec((None, 224, 224, 3))]

    @tf.function(input_signature=spec)
    def forward(images: tf.Tensor) -> tf.Tensor:
        return tf.matmul(trunk(images, training=False), last.kernel) + last.bias

    @tf.function(input_signature=spec)
    def backward(images: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(images)
            score = tf.reduce_sum(tf.reduce_max(forward(images), axis=-1))
        return tape.gradient(score, images)

    return forward, backward


def _on_jax(trunk: keras.Model, last: keras.Layer) -> tuple[Pass, Pass]:
    import jax

    weights = [v.value for v in trunk.variables], last.kernel.value, last.bias.value  # arguments: they may change

    @jax.jit
    def forward(images: Any, weights: Any) -> Any:
        own, kernel, bias = weights
        trained, others = (
            [value for v, value in zip(trunk.variables, own) if v.trainable is kind] for kind in (True, False)
        )
        return trunk.stateless_call(trained, others, images, training=False)[0] @ kernel + bias

    @jax.jit
    def backward(images: Any, weights: Any) -> Any:
        return jax.grad(lambda x: forward(x, weights).max(axis=-1).sum())(images)

    return (lambda x: forward(x, weights)), (lambda x: backward(x, weights))
