"""The tutorials on Keras, against passes written out in TensorFlow without sightline."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from sightline import PreprocessingWarning
from sightline.pictures import read_metadata

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
import t1_keras_vgg16
import t3_keras_saliency

FRAMEWORKS = ("keras-tensorflow",)
HALF = "resize=224,crop=224,mean=0.5,std=0.5"


@pytest.fixture(scope="module", autouse=True)
def single_precision() -> Any:
    """What users have; other modules of this process compute in float64."""
    before = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")
    yield
    keras.config.set_floatx(before[0])
    keras.config.set_dtype_policy(before[1])


@pytest.fixture(scope="module")
def vgg(single_precision: None) -> Any:
    keras.utils.set_random_seed(0)
    return keras.applications.VGG16(weights=None)


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (224, 224, 3), np.uint8)


def scores(vgg: Any, x: Any, relu: Callable[[Any], Any] = tf.nn.relu) -> tuple[Any, Any]:
    """VGG16 once more: its class scores before the softmax, and the feature map of block5_conv3."""
    found = None
    for layer in vgg.layers[1:]:
        if layer.name.endswith("pool"):
            x = tf.nn.max_pool2d(x, 2, 2, "VALID")
        elif "conv" in layer.name:
            x = relu(tf.nn.conv2d(x, layer.kernel.value, 1, "SAME") + layer.bias.value)
            found = x if layer.name == "block5_conv3" else found
        elif layer.name == "flatten":
            x = tf.reshape(x, (1, -1))
        else:
            x = x @ layer.kernel.value + layer.bias.value
            x = x if layer.name == "predictions" else relu(x)
    return x, found


@tf.custom_gradient
def deconv_relu(x: Any) -> Any:
    return tf.nn.relu(x), tf.nn.relu  # what comes back is rectified, whatever went forward


def grads(vgg: Any, x: Any, relu: Callable[[Any], Any], through: bool) -> tuple[int, Any, Any, Any]:
    """Top class, its score's gradient at the image or (through=False) at block5_conv3, and that feature map."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        logits, features = scores(vgg, x, relu)
        top = tf.reduce_max(logits)
    return (
        int(tf.argmax(logits[0])),
        tape.gradient(top, x if through else features)[0].numpy(),
        features[0].numpy(),
        top,
    )


def close(found: np.ndarray, expected: np.ndarray) -> None:
    """Equal but for gates of ReLU and max-pooling that flip where float32 rounds otherwise."""
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.9999
    assert np.abs(found - expected).max() < 2e-2 * np.abs(expected).max()


def test_t1_gives_the_three_maps_of_vgg16(vgg: Any, picture: np.ndarray, tmp_path: Path) -> None:
    found = t1_keras_vgg16.main(picture, str(tmp_path), model=vgg, preprocess="mean=0.5,std=0.5", labels="imagenet")
    plain, deconv, cam = found
    x = tf.constant(picture[None] / 127.5 - 1, tf.float32)
    top, slope, _, score = grads(vgg, x, tf.nn.relu, True)
    assert [e.target[0]["index"] for e in found] == [top] * 3
    np.testing.assert_allclose([e.score[0] for e in found], float(score), rtol=1e-4)
    close(plain.map[0], np.abs(slope).max(axis=-1))
    close(deconv.map[0], np.abs(grads(vgg, x, deconv_relu, True)[1]).max(axis=-1))
    assert np.corrcoef(deconv.map.ravel(), plain.map.ravel())[0, 1] < 0.9  # the original's DeconvNet was the gradient
    _, slope, features, _ = grads(vgg, x, tf.nn.relu, False)
    assert cam.layer == "block5_conv3" and cam.attribution.shape == (1, 14, 14)
    close(cam.attribution[0], np.maximum((slope.mean(axis=(0, 1)) * features).sum(axis=-1), 0))
    for method in ("gradient", "deconvnet", "grad-cam"):
        assert read_metadata(tmp_path / f"{method}.png")["method"] == method


def test_t3_explains_the_score_and_not_the_probability(vgg: Any, picture: np.ndarray, tmp_path: Path) -> None:
    e = t3_keras_saliency.main(picture, str(tmp_path), model=vgg, preprocess="mean=0.5,std=0.5", labels="imagenet")
    x = tf.constant(picture[None] / 127.5 - 1, tf.float32)
    top, slope, _, _ = grads(vgg, x, tf.nn.relu, True)
    assert (e.target[0]["index"], e.head) == (top, "softmax")
    close(e.map[0], np.abs(slope).max(axis=-1))
    sure = tf.nn.softmax(scores(vgg, x)[0])[0].numpy()
    assert [t["probability"] for t in e.top[0]] == pytest.approx(np.sort(sure)[::-1][:5].tolist(), rel=1e-4)
    assert "score before the softmax" in read_metadata(tmp_path / "saliency.png")["explained"]


def test_t3_tries_out_without_weights_and_says_what_it_assumed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.warns(PreprocessingWarning, match="crop=224x224"):
        e = t3_keras_saliency.main(folder=str(tmp_path), weights="random", model="keras:VGG16")
    assert f"{e.top[0][0]['probability']:.2f} {e.target[0]['label']}" in capsys.readouterr().out
    assert e.target[0]["label"] in read_metadata(tmp_path / "saliency.png")["target"]


@pytest.mark.assets
def test_t1_and_t3_find_the_cat_of_a_real_photograph(assets: Path, tmp_path: Path) -> None:
    file, options = assets / "images" / "cat.png", {"preprocess": HALF, "labels": "imagenet"}
    options |= {"image": str(file), "folder": str(tmp_path), "model": str(assets / "mobilenet_v2.keras")}
    e = t3_keras_saliency.main(**options)
    *_, cam = t1_keras_vgg16.main(**options, layer="out_relu")
    assert e.target == cam.target == [{"index": 285, "label": "Egyptian cat"}]
    model = keras.saving.load_model(assets / "mobilenet_v2.keras", compile=False)
    x = tf.constant(_centre(file)[None] / 127.5 - 1, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(x)
        features = keras.Model(model.inputs, model.layers[-2].output)(x)
        score = (features @ model.layers[-1].kernel.value + model.layers[-1].bias.value)[0, 285]
    close(e.map[0], np.abs(tape.gradient(score, x)[0].numpy()).max(axis=-1))
    assert cam.attribution.shape == (1, 7, 7) and cam.score[0] == pytest.approx(float(score), rel=1e-3)


def _centre(file: Path) -> np.ndarray:
    """The middle square of a photograph, 224 pixels wide."""
    image = Image.open(file).convert("RGB")
    width, height = (int(224 * side / min(image.size)) for side in image.size)
    left, top = round((width - 224) / 2), round((height - 224) / 2)
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))[top : top + 224, left : left + 224]
