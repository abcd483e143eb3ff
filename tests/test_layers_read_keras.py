"""Which layer a CAM takes of its own where a Keras model has outputs beside the one that is explained."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import sightline as sl

FRAMEWORKS = ("keras-tensorflow", "keras-jax", "keras-torch")


def aside(drawn: int) -> Any:
    """A classifier that also draws a picture, by so many layers."""
    keras.utils.set_random_seed(0)
    image = layers.Input((16, 24, 3))
    features = layers.Conv2D(4, 3, 2, "same", activation="relu", name="features")(image)
    y = features
    for i in range(drawn):
        y = layers.Conv2D(4, 3, padding="same", name=f"drawing{i}")(y)
    scores = layers.Dense(5, name="scores")(layers.GlobalAveragePooling2D()(features))
    return keras.Model(image, {"scores": scores, "drawn": y})


@pytest.mark.parametrize("drawn", [1, 9])
def test_what_another_output_is_made_of_is_not_taken(drawn: int) -> None:
    x = np.random.default_rng(0).normal(size=(1, 16, 24, 3)).astype("float32")
    found = [sl.explain(aside(drawn), x, method=name, output="scores") for name in ("grad-cam", "recipro-cam")]
    assert [e.layer for e in found] == ["features", "features"]
    assert all(e.map.max() > 0 for e in found)
    with pytest.raises(sl.LayerError, match="'drawing0' was given; the scores do not hang on what it gives"):
        sl.explain(aside(drawn), x, method="grad-cam", output="scores", layer="drawing0")
