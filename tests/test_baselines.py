"""Baselines in the model's own units, for a preprocessing in the manner of Caffe, in both layouts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter
from skimage.filters import gaussian

import sightline as sl
from sightline.baselines import baseline_for

CAFFE = sl.Preprocessing(scale=1.0, mean=(103.939, 116.779, 123.68), order="bgr")  # blue comes first
BLACK = np.array([-103.939, -116.779, -123.68])
RNG = np.random.default_rng(0)
X = RNG.uniform(0, 255, size=(3, 24, 32, 3)) + BLACK
LAYOUTS = pytest.mark.parametrize("channel", [-1, -3])


def of(spec: Any, channel: int = -1, preprocessing: sl.Preprocessing | None = CAFFE, seed: int = 0) -> np.ndarray:
    """The baseline of X, channels last, when the model's layout is `channel`."""
    x = np.ascontiguousarray(np.moveaxis(X, -1, channel))
    found = baseline_for(spec, x, channel, preprocessing, seed)
    assert found.shape == x.shape
    assert found.dtype == x.dtype
    return np.moveaxis(found, channel, -1)


@LAYOUTS
def test_black_white_and_mean(channel: int) -> None:
    np.testing.assert_allclose(of("black", channel), np.broadcast_to(BLACK, X.shape), rtol=1e-6)
    np.testing.assert_allclose(of("white", channel), np.broadcast_to(BLACK + 255, X.shape), rtol=1e-6)
    for i, image in enumerate(X):
        expected = [image[..., c].sum() / (24 * 32) for c in range(3)]
        np.testing.assert_allclose(of("mean", channel)[i], np.broadcast_to(expected, image.shape), rtol=1e-9)


@LAYOUTS
def test_blurred_is_a_gaussian_of_each_channel(channel: int) -> None:
    for i, image in enumerate(X):
        for c in range(3):
            expected = gaussian(image[..., c], 24 * 10 / 224, mode="nearest")
            np.testing.assert_allclose(of("blurred", channel)[i, ..., c], expected, rtol=0, atol=1e-9)


@LAYOUTS
def test_blurred_11x11_is_the_start_of_rises_insertion(channel: int) -> None:
    """Its code blurs a point in a picture of 11 x 11, and convolves with that, zeros beyond the edge."""
    point = np.zeros((11, 11))
    point[5, 5] = 1
    kernel = gaussian_filter(point, 5)
    found = of("blurred-11x11", channel)[0]
    padded = np.pad(X[0], ((5, 5), (5, 5), (0, 0)))
    for i, j in ((0, 0), (3, 30), (12, 16), (23, 31)):
        expected = (padded[i : i + 11, j : j + 11] * kernel[..., None]).sum(axis=(0, 1))
        np.testing.assert_allclose(found[i, j], expected, rtol=1e-9)


@LAYOUTS
def test_noise_is_uniform_pixels_that_depend_on_the_seed_alone(channel: int) -> None:
    noise, again, other = of("noise", channel), of("noise", channel), of("noise", channel, seed=1)
    assert np.array_equal(noise, again)
    assert np.array_equal(noise[0], noise[2])  # the same for every image
    pixels = noise - BLACK
    assert pixels.min() >= -1e-4
    assert pixels.max() <= 255 + 1e-4
    assert pixels[0].mean() == pytest.approx(127.5, abs=5 * 255 / np.sqrt(12 * pixels[0].size))
    assert abs(np.corrcoef(noise[0].ravel(), other[0].ravel())[0, 1]) < 0.15


def test_without_a_preprocessing_black_and_white_are_each_images_own_ends() -> None:
    for i, image in enumerate(X):
        assert (of("black", preprocessing=None)[i] == image.min()).all()
        assert (of("white", preprocessing=None)[i] == image.max()).all()
        noise = of("noise", preprocessing=None)[i]
        assert image.min() <= noise.min() < noise.max() <= image.max()


@pytest.mark.parametrize("spec", [0, 0.5, -3, "0.5", "-3", np.float32(0.5), np.int64(2)])
def test_a_number_is_in_the_models_own_units(spec: Any) -> None:
    assert (of(spec) == float(spec)).all()


@LAYOUTS
def test_an_array_is_the_models_own_input(channel: int) -> None:
    mine = RNG.normal(size=X.shape)
    there = np.ascontiguousarray(np.moveaxis(mine, -1, channel))
    assert np.array_equal(of(there, channel), mine)
    assert np.array_equal(of(there[0], channel), np.broadcast_to(mine[0], X.shape))
    assert np.array_equal(of(there[:1].astype(np.float16), channel)[2], mine[0].astype(np.float16))


def test_a_picture_is_preprocessed(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 256, size=(24, 32, 3), dtype=np.uint8)
    expected = pixels[..., ::-1] + BLACK
    Image.fromarray(pixels).save(tmp_path / "grey.png")
    for spec in (pixels, Image.fromarray(pixels), tmp_path / "grey.png", str(tmp_path / "grey.png")):
        np.testing.assert_allclose(of(spec), np.broadcast_to(expected, X.shape), rtol=0, atol=1e-4)
        np.testing.assert_allclose(of(spec, -3), np.broadcast_to(expected, X.shape), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("spec", "preprocessing", "given", "fix"),
    [
        ("blak", CAFFE, "baseline 'blak' was given; expected black", "'black'"),
        ("gaussian", CAFFE, "baseline 'gaussian' was given", "list"),
        ("blured", None, "without preprocessing", "'blurred'"),
        (np.zeros((5, 5, 3)), CAFFE, "a baseline of shape (5, 5, 3) was given for images of shape (3, 24, 32, 3)", ""),
        (np.zeros((5, 5, 3), np.uint8), CAFFE, "a baseline of shape (5, 5, 3)", "shape"),
        (np.nan, CAFFE, "expected a finite number", ""),
        ("inf", CAFFE, "expected a finite number", ""),
        (np.full((24, 32, 3), np.inf), CAFFE, "NaN or infinite", ""),
    ],
)
def test_what_is_no_baseline(spec: Any, preprocessing: sl.Preprocessing | None, given: str, fix: str) -> None:
    with pytest.raises(sl.MethodError) as error:
        of(spec, preprocessing=preprocessing)
    assert str(error.value).count("\n") == 1
    assert given in error.value.given
    assert fix in error.value.fix


def test_a_picture_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(sl.InputError, match="not a picture that can be read"):
        of(tmp_path / "text.png")
