"""Keras on TensorFlow: what each method costs in bare compiled passes, beside tf-keras-vis."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_BACKEND"] = "tensorflow"

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

import sightline as sl
from benchmarks.clock import Contender, Limit, Run
from benchmarks.ours import contenders
from benchmarks.table import Row, emit, rows

MODEL = "Keras/TensorFlow MobileNetV2"
STEPS = 50
MANY = {"integrated-gradients": {"steps": STEPS}, "smoothgrad": {"samples": STEPS}}
UNIT = {"gradient": "FB", "guided-backprop": "FB", "deconvnet": "FB", "grad-cam": "F"}


def compare(batch: int) -> list[Row]:
    """A row for each method on MobileNetV2, random weights, `batch` images of 224 x 224."""
    keras.utils.set_random_seed(0)
    net = keras.applications.MobileNetV2(weights=None)
    logits = keras.Model(net.inputs[0], net.layers[-2].output)
    kernel, bias = net.layers[-1].get_weights()
    x = tf.constant(np.random.default_rng(0).normal(size=(batch, 224, 224, 3)).astype(np.float32))
    spec = [tf.TensorSpec((None, 224, 224, 3))]

    @tf.function(input_signature=spec)
    def forward(images: tf.Tensor) -> tf.Tensor:
        return tf.matmul(logits(images, training=False), kernel) + bias

    @tf.function(input_signature=spec)
    def backward(images: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(images)
            score = tf.reduce_sum(tf.reduce_max(forward(images), axis=-1))
        return tape.gradient(score, images)

    loaded = sl.load(net)
    limits = {"F": Limit("F", lambda: forward(x)), "FB": Limit("FB", lambda: backward(x))}
    runs = contenders(loaded, x, {name: {} for name in UNIT}) | _peers(net, x)
    quick = {called: Contender(run, limits[UNIT[called.partition(":")[0]]]) for called, run in runs.items()}
    quick["the limit: itself"] = Contender(limits["FB"].run, limits["FB"])
    found = rows(MODEL, batch, quick, seconds=20)
    return found + (_many(loaded, backward, x, net) if batch == 1 else [])


def _peers(net: keras.Model, x: tf.Tensor) -> dict[str, Run]:
    from tf_keras_vis.gradcam import Gradcam
    from tf_keras_vis.saliency import Saliency
    from tf_keras_vis.utils.model_modifiers import ReplaceToLinear
    from tf_keras_vis.utils.scores import CategoricalScore

    score = CategoricalScore(np.argmax(net(x), axis=-1).tolist())
    saliency, cam = (kind(net, model_modifier=ReplaceToLinear(), clone=True) for kind in (Saliency, Gradcam))
    return {
        "gradient: tf-keras-vis": lambda: saliency(score, x, normalize_map=False),
        "grad-cam: tf-keras-vis": lambda: cam(score, x, penultimate_layer="out_relu", normalize_cam=False),
    }


def _many(loaded: sl.Loaded, backward: Callable[[tf.Tensor], object], x: tf.Tensor, net: keras.Model) -> list[Row]:
    """Methods of many passes, against bare ones in chunks of the same size."""
    from tf_keras_vis.saliency import Saliency
    from tf_keras_vis.utils.model_modifiers import ReplaceToLinear
    from tf_keras_vis.utils.scores import CategoricalScore

    chunk = loaded.model.chunk
    pack = tf.repeat(x, chunk, axis=0)
    limit = Limit("FB", lambda: [backward(pack) for _ in range(3)], 3 * chunk)
    saliency = Saliency(net, model_modifier=ReplaceToLinear(), clone=True)
    score = CategoricalScore(np.argmax(net(x), axis=-1).tolist())
    runs: dict[str, Run] = {
        **contenders(loaded, x, MANY),
        "smoothgrad: tf-keras-vis": lambda: saliency(score, x, smooth_samples=STEPS, normalize_map=False),
    }
    many = {called: Contender(run, limit, STEPS) for called, run in runs.items()}
    return rows(MODEL, 1, many, seconds=20, rounds=3)


if __name__ == "__main__":
    for images in (1, 8):
        emit(compare(images))
