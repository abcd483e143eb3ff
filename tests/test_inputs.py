"""What a user may give as images, and that it reaches the model as it should, in every framework."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import paper
import sightline as sl
from nets import FRAMEWORK, build, use_float64
from sightline.arrays import to_numpy
from sightline.inputs import Given, take

FRAMEWORKS = ("torch", "keras-tensorflow", "keras-jax", "keras-torch")
use_float64()

NET = paper.small_net()
RNG = np.random.default_rng(8)
PIXELS = RNG.integers(0, 256, size=(12, 12, 3), dtype=np.uint8)
PRE = sl.Preprocessing(mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 2.0), order="bgr")
BY_HAND = (PIXELS[..., ::-1] / 255 - [0.1, 0.2, 0.3]) / [0.5, 0.25, 2.0]


@pytest.fixture(scope="module")
def loaded() -> sl.Loaded:
    return sl.load(build(NET), preprocess=PRE)


def taken(images: Any, loaded: sl.Loaded) -> tuple[np.ndarray, Given]:
    """The model's input, channels last, and what came with it."""
    given = take(images, loaded.model, loaded.preprocessing)
    return np.moveaxis(to_numpy(given.x), loaded.model.channel, -1), given


def tensor(values: np.ndarray) -> Any:
    if "torch" in FRAMEWORK:
        import torch

        return torch.as_tensor(values)
    if FRAMEWORK == "keras-jax":
        import jax.numpy as jnp

        return jnp.asarray(values)
    import tensorflow as tf

    return tf.convert_to_tensor(values)


def test_every_kind_of_picture_is_preprocessed(loaded: sl.Loaded, tmp_path: Path) -> None:
    file = tmp_path / "picture.png"
    Image.fromarray(PIXELS).save(file)
    kinds = [file, str(file), Image.fromarray(PIXELS), PIXELS, tensor(PIXELS)]
    for images in [*kinds, *([kind] for kind in kinds), PIXELS[None], tensor(PIXELS[None])]:
        x, given = taken(images, loaded)
        np.testing.assert_allclose(x, BY_HAND[None], rtol=1e-6, atol=1e-6)
        assert given.preprocessed
        assert np.array_equal(given.pictures[0].pixels, PIXELS)
    x, given = taken(kinds, loaded)
    np.testing.assert_allclose(x, np.broadcast_to(BY_HAND, (5, 12, 12, 3)), rtol=1e-6, atol=1e-6)
    assert [p.name for p in given.pictures] == [str(file), str(file), "image 2", "array 3", "array 4"]


def test_a_batch_of_pixels_is_several_pictures(loaded: sl.Loaded) -> None:
    batch = np.stack([PIXELS, 255 - PIXELS])
    for images in (batch, tensor(batch), tuple(batch)):
        x, given = taken(images, loaded)
        np.testing.assert_allclose(x[0], BY_HAND, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(
            x[1], ((255 - PIXELS[..., ::-1].astype(float)) / 255 - [0.1, 0.2, 0.3]) / [0.5, 0.25, 2.0], atol=1e-6
        )
        assert [p.name for p in given.pictures] == ["array 0", "array 1"]


def test_the_preprocessed_picture_is_what_the_model_sees(loaded: sl.Loaded) -> None:
    e = sl.explain(loaded, PIXELS, method="gradient", target=2)
    assert isinstance(e, sl.Explanation)
    assert e.score[0] == pytest.approx(paper.scores(NET, BY_HAND)[2], rel=1e-5)
    assert e.preprocessing == str(PRE)


def test_fractions_with_a_batch_axis_are_the_models_own_input(loaded: sl.Loaded) -> None:
    values = RNG.normal(size=(2, 12, 12, 3))
    mine = np.ascontiguousarray(np.moveaxis(values, -1, loaded.model.channel))
    for images in (mine, tensor(mine)):
        x, given = taken(images, loaded)
        assert np.array_equal(x, values)
        assert not given.preprocessed
        assert [p.name for p in given.pictures] == ["array 0", "array 1"]
        e = sl.explain(loaded, images, method="gradient", target=2)
        assert isinstance(e, sl.Explanation)
        np.testing.assert_allclose(e.score, [paper.scores(NET, v)[2] for v in values], rtol=1e-9)
        assert e.preprocessing is None


def test_an_array_may_be_mirrored_or_in_another_byte_order(loaded: sl.Loaded) -> None:
    values = RNG.normal(size=(2, 12, 12, 3))
    mine = np.moveaxis(values, -1, loaded.model.channel)
    for images, expected in (
        (mine[..., ::-1], np.moveaxis(mine[..., ::-1], loaded.model.channel, -1)),
        (mine[::-1], values[::-1]),
        (mine.astype(">f8"), values),
        (mine.astype(">f4"), values.astype(np.float32)),
        (mine.astype(np.longdouble), values),
    ):
        assert np.array_equal(taken(images, loaded)[0], expected)


def test_the_models_own_input_is_shown_as_the_picture_that_it_was(loaded: sl.Loaded) -> None:
    mine = np.moveaxis(BY_HAND[None], -1, loaded.model.channel)
    _, given = taken(mine, loaded)
    assert np.array_equal(given.pictures[0].pixels, PIXELS)
    bare = take(mine, loaded.model, None).pictures[0].pixels  # without a preprocessing: from the least to the largest
    assert (bare.min(), bare.max()) == (0, 255)
    assert bare[3, 4, 1] == round(255 * (BY_HAND[3, 4, 1] - BY_HAND.min()) / (BY_HAND.max() - BY_HAND.min()))


def test_a_constant_input_can_be_shown(loaded: sl.Loaded) -> None:
    flat = np.moveaxis(np.full((1, 12, 12, 3), 0.7), -1, loaded.model.channel)
    assert (take(flat, loaded.model, None).pictures[0].pixels == 0).all()


@pytest.mark.parametrize(
    ("images", "given", "fix"),
    [
        (np.zeros((12, 12, 3)), "an array of shape (12, 12, 3) with fractions was given", "image[None]"),
        (np.zeros((0, 12, 12, 3)), "an array of shape (0, 12, 12, 3)", ""),
        (np.full((1, 12, 12, 3), np.nan), "432 values that are NaN or infinite", ""),
        (np.zeros((12, 12, 3), np.int64), "An array of int64 with shape (12, 12, 3)", "0 to 255"),
        (np.zeros((12, 12, 5), np.uint8), "5 channels, expected 3", "channels=5"),
        (np.zeros((12, 12, 3), object), "An array of object", ""),
        ([], "an empty list of images", ""),
        ([np.zeros((12, 12, 3))], "An array of float64", "batch axis"),
        ([PIXELS, PIXELS[:8]], "2 sizes: (8, 12), (12, 12)", "crop"),
        ("https://example.org/cat.png", "is a URL", "Download"),
        ("no-such-file.png", "There is no file no-such-file.png", ""),
        (["no-such-file.png", PIXELS], "There is no file no-such-file.png", ""),
        (None, "A picture was given as NoneType", ""),
        (7, "A picture was given as int", ""),
        ((p for p in [PIXELS]), "A picture was given as generator", ""),
    ],
)
def test_what_cannot_be_explained(loaded: sl.Loaded, images: Any, given: str, fix: str) -> None:
    with pytest.raises(sl.InputError) as error:
        sl.explain(loaded, images)
    assert str(error.value).count("\n") == 1
    assert given in error.value.given
    assert fix in error.value.fix


def test_wrong_channels_of_the_models_own_input_are_two_lines(loaded: sl.Loaded) -> None:
    wrong = np.zeros((1, 5, 12, 12) if FRAMEWORK == "torch" else (1, 12, 12, 5))
    with pytest.raises(
        sl.ModelError, match=rf"failed on an input of shape {re.escape(str(wrong.shape))}: .*\n.*channels"
    ):
        sl.explain(loaded, wrong, method="gradient")


def test_pictures_of_any_number_of_channels() -> None:
    net = paper.small_net(channels=5)
    pixels = RNG.integers(0, 256, size=(12, 12, 5), dtype=np.uint8)
    e = sl.explain(build(net), pixels, method="gradient", target=1, preprocess="channels=5,mean=0.5,std=0.5")
    assert isinstance(e, sl.Explanation)
    image = (pixels / 255 - 0.5) / 0.5
    assert e.score[0] == pytest.approx(paper.scores(net, image)[1], rel=1e-5)
    np.testing.assert_allclose(e.map[0], np.abs(paper.gradient(net, image, 1)).max(axis=-1), rtol=1e-3)
    assert e.picture().size[0] > 24  # a person sees the channels' mean
    assert sl.grid([e]).size[0] > 12
