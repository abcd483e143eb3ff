"""A tail inside a residual block: the values that cross the cut are given too, so that nothing before it is needed."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from nets import use_float64
from sightline.arrays import tile, to_numpy
from sightline.frameworks import adapt
from sightline.frameworks.keras.crossing import cut_after
from sightline.model import Target

FRAMEWORKS = ("keras-tensorflow", "keras-jax")


def residual() -> Any:
    """Two blocks with a skip each, and a branch that joins late."""
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3), name="image")
    stem = keras.layers.Conv2D(4, 3, padding="same", name="stem")(image)
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu", name="inner")(stem)
    x = keras.layers.Add(name="join")([x, stem])
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu", name="second")(x)
    late = keras.layers.GlobalAveragePooling2D(name="late")(stem)
    x = keras.layers.Concatenate(name="both")([keras.layers.GlobalAveragePooling2D(name="pool")(x), late])
    return keras.Model(image, keras.layers.Dense(3, name="scores")(x))


@pytest.fixture(scope="module")
def model() -> Any:
    use_float64()
    return residual()


def test_what_crosses_is_found(model: Any) -> None:
    assert cut_after(model, "inner").crossing == ("stem", "late")
    assert cut_after(model, "second").crossing == ("late",)
    assert cut_after(model, "inner").after == {"inner", "join", "second", "pool", "both", "scores"}
    assert cut_after(model, "both").crossing == ()
    assert (
        cut_after(keras.Sequential([keras.Input((8, 8, 3)), model]), "inner").crossing == ()
    )  # nested: not looked into


@pytest.mark.parametrize("place", ["stem", "inner", "join", "second", "pool"])
def test_a_tail_needs_nothing_that_comes_before(model: Any, place: str) -> None:
    seam = adapt(model)
    x = seam.array(np.random.default_rng(0).random((2, 8, 8, 3)))
    memory = seam.remember(x, place)
    value = seam.run(x, at=[place]).values[place]
    copies = tile(value, 3) * seam.array(np.repeat([0.5, 1.0, 2.0], 2).reshape(6, *[1] * (len(value.shape) - 1)))
    target = Target(lambda outputs: outputs[:, 1])
    whole = seam.run(tile(x, 3), at=[place], edit={place: copies}, target=target)
    nowhere = seam.array(np.full((2, 8, 8, 3), np.nan))
    tail = seam.run(nowhere, at=[place], edit={place: copies}, target=target, memory=memory)
    assert np.allclose(to_numpy(tail.outputs), to_numpy(whole.outputs), rtol=1e-12)
    assert np.allclose(to_numpy(tail.grads[place]), to_numpy(whole.grads[place]), rtol=1e-12)


def test_a_place_before_the_cut_is_still_told(model: Any) -> None:
    seam = adapt(model)
    x = seam.array(np.random.default_rng(0).random((1, 8, 8, 3)))
    memory, value = seam.remember(x, "inner"), seam.run(x, at=["inner"]).values["inner"]
    target = Target(lambda outputs: outputs[:, 1])
    asked: dict[str, Any] = {"at": ["stem"], "edit": {"inner": tile(value, 2)}, "target": target}
    found = seam.run(x, **asked, memory=memory).grads["stem"]
    expected = seam.run(tile(x, 2), **asked).grads["stem"]
    assert np.abs(to_numpy(expected)).max() > 0 and np.allclose(to_numpy(found), to_numpy(expected), rtol=1e-12)
