"""keras_applications against keras.applications.X.preprocess_input, on every pixel value."""

from __future__ import annotations

import importlib
import pkgutil

import numpy as np

from sightline.images import Picture
from sightline.preprocessing import keras_applications

FRAMEWORKS = ("keras-tensorflow", "keras-jax", "keras-torch")


def test_every_module_of_keras_applications_gets_the_same_numbers() -> None:
    import keras.applications

    pixels = np.random.default_rng(0).permutation(256 * 3).reshape(16, 16, 3).astype(np.uint8)
    names = {module.name for module in pkgutil.iter_modules(keras.applications.__path__)} - {"imagenet_utils"}
    assert len(names) >= 16
    for name in sorted(names):
        module = importlib.import_module(f"keras.applications.{name}")
        expected = module.preprocess_input(pixels.astype(np.float32))
        values, geometry = keras_applications(name, 16).apply(Picture(pixels, name))
        four_roundings = 4 * np.spacing(np.abs(expected).max())  # Keras works in float32, step by step
        np.testing.assert_allclose(values, expected, rtol=0, atol=four_roundings, err_msg=name)
        assert geometry.crop == (0, 0, 16, 16)


def test_the_centre_square_is_taken_without_squashing() -> None:
    pre = keras_applications("mobilenet_v2", 224)
    _, geometry = pre.apply(Picture(np.zeros((448, 896, 3), np.uint8), "wide"))
    assert geometry.resized == (224, 448)
    assert geometry.crop == (0, 112, 224, 224)
