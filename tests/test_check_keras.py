"""Sanity checks of Keras models: which weights become random, and which cannot."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

import sightline as sl
from nets import snapshot, use_float64
from sightline.randomised import Randomised, drawn, own_weights, parameters_of, stages_of

FRAMEWORKS = ("keras-tensorflow", "keras-jax", "keras-torch")
use_float64()
X = np.random.default_rng(0).normal(size=(2, 8, 8, 3))


def with_attention() -> Any:
    """Convolution, normalisation, attention over the cells, and a layer that is called twice."""
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3))
    x = keras.layers.BatchNormalization(name="norm")(keras.layers.Conv2D(4, 3, strides=2, name="conv")(image))
    x = keras.layers.Reshape((9, 4))(x)
    x = keras.layers.MultiHeadAttention(2, 3, name="attention")(x, x)
    twice = keras.layers.Dense(4, name="twice", activation="relu")
    x = keras.layers.GlobalAveragePooling1D()(twice(twice(x)))
    model = keras.Model(image, keras.layers.Dense(3, name="head")(x))
    rng = np.random.default_rng(1)
    model.set_weights([rng.uniform(0.1, 1, w.shape) for w in model.get_weights()])
    return model


def test_every_weight_that_training_changes_is_random_in_the_end() -> None:
    model = with_attention()
    adapted = sl.load(model).model
    x = adapted.array(X)
    layers = parameters_of(adapted, x)
    own = own_weights(adapted, x, layers)
    assert len(own) == len(model.trainable_variables)  # the shared layer's once, and no running mean
    new = drawn(own, 0)
    before = snapshot(model)
    found = Randomised(adapted, new, 4).run(x, at=[""], target=lambda outputs: outputs[:, 1])
    assert snapshot(model) == before
    other = with_attention()
    for variable in other.trainable_variables:
        (place,) = [p for p in own if variable.path.endswith(p[1:].partition("/")[2]) and _layer(variable) in p]
        variable.assign(keras.ops.convert_to_numpy(new[place]))
    expected = sl.load(other).model.run(x, at=[""], target=lambda outputs: outputs[:, 1])
    for a, b in ((found.outputs, expected.outputs), (found.grads[""], expected.grads[""])):
        a, b = (keras.ops.convert_to_numpy(value) for value in (a, b))
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
        assert np.abs(b).max() > 1e-6


def _layer(variable: Any) -> str:
    return variable.path.split("/")[0]


def test_the_top_layer_is_random_first() -> None:
    adapted = sl.load(with_attention()).model
    layers = parameters_of(adapted, adapted.array(X))
    assert [layers[0][0], layers[1][0], layers[-1][0]] == ["conv", "norm", "head"]
    first, *_ = stages_of(layers, len(layers), alone=False)
    assert first.name == "head" and len(first.places) == 2


class WithAWeightOfItsOwn(keras.Model):
    """A subclassed model whose own weight belongs to no layer."""

    def __init__(self) -> None:
        super().__init__()
        self.flat, self.head = keras.layers.Flatten(), keras.layers.Dense(3)
        self.scale = self.add_weight(shape=(3,), initializer="ones", name="scale")

    def call(self, x: Any) -> Any:
        return self.head(self.flat(x)) * self.scale


def test_a_weight_that_no_place_reaches_is_told() -> None:
    model = WithAWeightOfItsOwn()
    model(X)
    (found,) = sl.check(model, X, method="input-x-gradient", stages=1)
    assert found.depth == 1
    assert any("could not be replaced" in note and model.name in note for note in found.notes)


def test_a_model_is_explained_at_random_by_every_kind_of_pass() -> None:
    found = sl.check(with_attention(), X, method=["gradient", "occlusion", "guided-backprop"], stages=1)
    assert [len(each.counts) for each in found] == [1, 1, 1]
    assert all(np.isfinite(each.similarities["spearman"]).any() for each in found)


def test_a_frozen_layer_is_random_too() -> None:
    model = with_attention()
    model.get_layer("conv").trainable = False
    adapted = sl.load(model).model
    assert "=conv/kernel" in own_weights(adapted, adapted.array(X), parameters_of(adapted, adapted.array(X)))


pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
