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
from benchmarks.clock import minima
from benchmarks.ours import contenders
from benchmarks.table import Row, emit

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
    ours = contenders(loaded, x, {name: {} for name in UNIT})
    best = minima({"F": lambda: forward(x), "FB": lambda: backward(x), **ours, **_peers(net, x)}, seconds=12)
    rows = [_row(batch, name, seconds, best) for name, seconds in best.items() if name not in ("F", "FB")]
    return rows + (_many(loaded, backward, x, net) if batch == 1 else [])


def _peers(net: keras.Model, x: tf.Tensor) -> dict[str, Callable[[], object]]:
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


def _row(batch: int, contender: str, seconds: float, best: dict[str, float]) -> Row:
    method, _, by = contender.partition(": ")
    unit = UNIT[method]
    return Row("Keras/TensorFlow MobileNetV2", batch, method, by, unit, 1, seconds, best[unit])


def _many(loaded: sl.Loaded, backward: Callable[[tf.Tensor], object], x: tf.Tensor, net: keras.Model) -> list[Row]:
    """Methods of many passes, against as many bare ones in chunks of the same size."""
    from tf_keras_vis.saliency import Saliency
    from tf_keras_vis.utils.model_modifiers import ReplaceToLinear
    from tf_keras_vis.utils.scores import CategoricalScore

    chunk = loaded.model.chunk
    packs = [tf.repeat(x, min(chunk, STEPS - start), axis=0) for start in range(0, STEPS, chunk)]
    saliency = Saliency(net, model_modifier=ReplaceToLinear(), clone=True)
    score = CategoricalScore(np.argmax(net(x), axis=-1).tolist())
    best = minima(
        {
            "bare": lambda: [backward(pack) for pack in packs],
            **contenders(loaded, x, MANY),
            "smoothgrad: tf-keras-vis": lambda: saliency(score, x, smooth_samples=STEPS, normalize_map=False),
        },
        seconds=10,
        rounds=2,
    )
    rows = [(c.partition(": "), s) for c, s in best.items() if c != "bare"]
    model = "Keras/TensorFlow MobileNetV2"
    return [Row(model, 1, m, by, "FB", STEPS, s, best["bare"] / STEPS) for (m, _, by), s in rows]


if __name__ == "__main__":
    for images in (1, 8):
        emit(compare(images))
