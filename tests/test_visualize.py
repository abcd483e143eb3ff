"""Pictures that raise a score, in every framework: scores inside the model, one step written out in NumPy, laws."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import paper
import paper_visualize as twin
import sightline as sl
from nets import FRAMEWORK, build, native, snapshot, use_float64
from sightline.aims import aim_at, mean_square
from sightline.arrays import namespace, to_numpy
from sightline.ascent import Climb, climb
from sightline.canvas import canvas
from sightline.errors import LayerError, TargetError
from sightline.frameworks import adapt
from sightline.layers import find_layer
from sightline.model import Target
from sightline.preprocessing import Preprocessing
from sightline.scores import as_target
from sightline.tail import Tail

FRAMEWORKS = ("torch", "keras-tensorflow", "keras-jax", "keras-torch")
use_float64()

NET = paper.small_net()
RNG = np.random.default_rng(11)
IMAGES = RNG.normal(size=(2, 12, 12, 3))
PRE = Preprocessing(crop=12, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25))
LOW, SPAN = (PRE.value_of(v).astype(np.float64) for v in (0, 255))
SPAN = SPAN - LOW


@pytest.fixture(scope="module")
def user() -> Any:
    return build(NET)


@pytest.fixture(scope="module")
def model(user: Any) -> Any:
    return adapt(user)


def down_from(index: int, x: np.ndarray, g: np.ndarray) -> np.ndarray:
    """A gradient at what layer `index` gives, sent down to the image."""
    values = paper.forward(NET, x)
    for i in range(index, -1, -1):
        kind, _, *weights = NET[i]
        g = g * (values[i] > 0) if kind == "relu" else paper.BACKWARD[kind](values[i], g, *weights)
    return g


def last(a: Any, model: Any) -> np.ndarray:
    """Channels last."""
    return np.moveaxis(to_numpy(a), model.channel, -1)


@pytest.mark.skipif(FRAMEWORK == "torch", reason="Keras' own way to mix precisions")
@pytest.mark.parametrize("mixed", ["mixed_float16", "mixed_bfloat16"])
def test_a_channel_of_a_layer_in_half_precision(mixed: str) -> None:
    import keras

    i = keras.Input((12, 12, 3), dtype="float32")
    values = keras.layers.Conv2D(4, 3, dtype=mixed, name="conv")(i)
    outputs = keras.layers.Dense(3, dtype="float32")(keras.layers.Flatten()(values))
    found = sl.visualize(keras.Model(i, outputs), "1", layer="conv", steps=10, preprocess=PRE)
    assert isinstance(found, sl.Visualization)
    there = to_numpy(keras.Model(i, values)(found.x[None]))[0, ..., 1].mean(dtype=np.float64)
    assert found.score == pytest.approx(there, rel=1e-3, abs=1e-4)
    assert found.score > found.scores[0]


def test_a_score_may_be_of_a_value_inside_the_model(model: Any) -> None:
    x = native(IMAGES, model)
    layer = find_layer(model.places(x), "conv2")
    aim, _ = aim_at("4", layer, x)
    trace = model.run(x, at=["", "pool1"], target=aim.repeat(2))
    assert set(trace.values) == set(trace.grads) == {"", "pool1"}
    assert trace.outputs.shape[-1] == 5  # the outputs stay the model's own
    for i, image in enumerate(IMAGES):
        features = paper.forward(NET, image)[4]
        assert to_numpy(trace.score)[0, i] == pytest.approx(features[..., 4].mean(), rel=1e-12)
        g = np.zeros_like(features)
        g[..., 4] = 1 / features[..., 4].size
        np.testing.assert_allclose(last(trace.grads[""], model)[0, i], down_from(3, image, g), rtol=0, atol=1e-13)


def test_a_score_may_be_of_the_image_of_a_tail_or_of_a_place_that_is_recorded_too(model: Any) -> None:
    x = native(IMAGES, model)
    layer = find_layer(model.places(x), "pool1")
    a = model.run(x, at=["pool1"]).values["pool1"]
    for seen, place, at in ((Tail(model, layer, x), "", ""), (model, "pool1", "pool1")):
        given = a if place == "" else x
        trace = seen.run(given, at=[at], target=Target(mean_square, (), place))
        expected = np.stack([paper.forward(NET, image)[3] for image in IMAGES])
        np.testing.assert_allclose(to_numpy(trace.score)[0], (expected**2).mean(axis=(1, 2, 3)), rtol=1e-12)
        np.testing.assert_allclose(last(trace.grads[at], model)[0], 2 * expected / expected[0].size, rtol=0, atol=1e-13)


def test_a_score_of_a_place_that_is_not_there_is_refused(model: Any) -> None:
    with pytest.raises(LayerError, match="'conv7' was given"):
        model.run(native(IMAGES, model), at=[""], target=Target(mean_square, (), "conv7"))


def class_2(x: Any) -> Target:
    weights = np.zeros((1, 1, 5))
    weights[..., 2] = 1
    return as_target(weights, x)


@pytest.mark.parametrize("aim", ["class", "3", "5@2,1", "all"])
def test_one_step_is_that_of_numpy(model: Any, aim: str) -> None:
    how = Climb(steps=1, rate=0.05, jitter=4, variation=30.0, l2=2.0, random_state=3)
    x = native(IMAGES[:1], model)
    paper_canvas = canvas(x, PRE, model.channel, fourier=True, decorrelate=True)
    layer = find_layer(model.places(x), "conv2")
    target = class_2(x) if aim == "class" else aim_at(aim, layer, x)[0]
    found, scores = climb(model, target, paper_canvas, how)

    def answer(p: np.ndarray) -> tuple[float, np.ndarray]:
        """Score and gradient at the pixels, of the picture as it is shifted."""
        image = LOW + SPAN * p
        if aim == "class":
            return paper.scores(NET, image)[2], SPAN * paper.gradient(NET, image, 2)
        features = paper.forward(NET, image)[4]
        g = {"3": np.zeros_like(features), "5@2,1": np.zeros_like(features), "all": 2 * features / features.size}[aim]
        if aim == "3":
            g[..., 3] = 1 / features[..., 3].size
        elif aim == "5@2,1":
            g[2, 1, 5] = 1
        value = (features**2).mean() if aim == "all" else (g * features).sum()
        return value, SPAN * down_from(3, image, g)

    z = 0.1 * np.random.default_rng([3, 0]).standard_normal((3, 12, 12))
    shift = np.random.default_rng([3, 1]).integers(-4, 5, 2)
    p = twin.pixels(z)
    score, g = answer(np.roll(p, shift, axis=(0, 1)))
    g = twin.back(np.roll(g, -shift, axis=(0, 1)) - twin.penalty_gradient(p, 30.0, 2.0), p)
    end = twin.pixels(z + 0.05 * g / (np.abs(g) + 1e-8))
    np.testing.assert_allclose(last(found, model)[0], LOW + SPAN * end, rtol=0, atol=1e-10)
    np.testing.assert_allclose(scores, [score, answer(end)[0]], rtol=1e-10)


def test_the_spectrum_is_that_of_the_fast_fourier_transform() -> None:
    for height, width in ((12, 12), (7, 10), (9, 5)):
        x = np.zeros((1, 3, height, width))
        made = canvas(x, PRE, -3, fourier=True, decorrelate=False)
        picture = np.random.default_rng(0).normal(size=(height, width))
        numbers = made.rows @ picture @ made.columns.T
        np.testing.assert_allclose(made.rows @ made.rows.T, np.eye(height), atol=1e-14)
        cycles = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
        rms = np.sqrt((twin.factors(height, width) ** 2).mean())
        full = 1 / np.maximum(np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)), 1 / max(height, width))
        scale = 1 / np.maximum(cycles, 1 / max(height, width)) / np.sqrt((full**2).mean()) / rms
        expected = np.fft.irfft2(np.fft.rfft2(picture) * scale, (height, width))
        found = made.rows.T @ (made.scale * numbers) @ made.columns
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13 * np.abs(expected).max())


def test_blue_first_is_the_same_picture_with_its_channels_turned() -> None:
    x = np.zeros((1, 8, 8, 3))
    made = [canvas(x, replace(PRE, order=o), -1, fourier=True, decorrelate=True) for o in ("rgb", "bgr")]  # type: ignore[arg-type]
    z = np.random.default_rng(0).normal(size=(1, 3, 8, 8))
    rgb, bgr = (c.pixels(z) for c in made)
    np.testing.assert_allclose(bgr, rgb[:, ::-1], atol=1e-15)
    assert np.ptp(rgb, axis=1).max() > 0.05
    assert made[0].shown(rgb).shape == (1, 8, 8, 3)


def test_the_same_random_state_gives_the_same_picture_and_the_model_is_untouched(user: Any) -> None:
    before = snapshot(user)
    first, again, other = (sl.visualize(user, 3, steps=3, preprocess=PRE, random_state=s) for s in (0, 0, 1))
    assert snapshot(user) == before
    np.testing.assert_array_equal(first.x, again.x)
    np.testing.assert_array_equal(first.scores, again.scores)
    assert np.abs(first.x - other.x).max() > 0.01
    assert first.scores.shape == (4,)
    assert first.scores[-1] > first.scores[0]
    assert first.scores[-1] == pytest.approx(paper.scores(NET, first.x.astype(np.float64))[3], rel=1e-5)
    np.testing.assert_array_equal(first.pixels, PRE.undo(first.x))


def test_a_list_gives_each_what_it_gives_alone(user: Any) -> None:
    options: dict[str, Any] = {"steps": 2, "preprocess": PRE, "layer": "conv2"}
    both = sl.visualize(user, [1, "all"], **options)
    assert isinstance(both, list)
    assert [v.target for v in both] == [
        {"index": 1, "label": "channel 1 of conv2"},
        {"index": None, "label": "all of conv2"},
    ]
    np.testing.assert_array_equal(both[1].x, sl.visualize(user, "all", **options).x)  # type: ignore[union-attr]


def test_what_is_no_target_is_refused(user: Any) -> None:
    for target, layer, said in (
        ("top", None, "no top class"),
        ("top-2", None, "no top class"),
        (9, None, "class 9 was given"),
        (6, "conv2", "has 6 channels of 6 x 6, counted from 0"),
        ("5@6,0", "conv2", "has 6 channels of 6 x 6"),
        ("5@1", "conv2", "has 6 channels of 6 x 6"),
        ("cat", "conv2", "target 'cat' was given for layer 'conv2'"),
        ([], None, "an empty list"),
    ):
        with pytest.raises(TargetError, match=said):
            sl.visualize(user, target, layer=layer, preprocess=PRE, steps=1)


def test_an_output_without_a_grid_has_units(model: Any) -> None:
    x = native(IMAGES, model)
    aim, facts = aim_at("2", find_layer(model.places(x), "head"), x)
    score = to_numpy(model.run(x, at=[""], target=aim.repeat(2)).score)[0]
    np.testing.assert_allclose(score, [paper.scores(NET, image)[2] for image in IMAGES], rtol=1e-12)
    assert facts == {"index": 2, "label": "channel 2 of head"}


def test_rolling_is_in_every_namespace(model: Any) -> None:
    x = native(IMAGES, model)
    np.testing.assert_array_equal(to_numpy(namespace(x).roll(x, -2, axis=-2)), np.roll(to_numpy(x), -2, axis=-2))
