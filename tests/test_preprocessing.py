"""Preprocessing: the flag's text, torchvision's numbers to the last pixel, and the way back."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sightline.errors import InputError
from sightline.images import Picture, read
from sightline.preprocessing import IMAGENET, Preprocessing, keras_applications

FRAMEWORKS = ("torch",)  # compares with torchvision
ASSETS = Path(os.environ.get("SIGHTLINE_ASSETS", Path(__file__).parents[2] / "shared" / "assets"))
PHOTOGRAPHS = sorted(p for p in (ASSETS / "images").glob("*") if "_mask." not in p.name or "with" in p.name)

with_assets = [
    pytest.mark.assets,
    pytest.mark.skipif(not PHOTOGRAPHS, reason=f"no photographs in SIGHTLINE_ASSETS ({ASSETS})"),
]


def noise(height: int, width: int, channels: int = 3) -> Picture:
    values = np.random.default_rng(height * 10_000 + width).integers(0, 256, (height, width, channels), dtype=np.uint8)
    return Picture(values, "noise")


def refusal(text: str) -> str:
    with pytest.raises(InputError) as caught:
        Preprocessing.parse(text)
    assert len(str(caught.value).splitlines()) == 2
    return str(caught.value)


def assert_torchvision_agrees(picture: Picture, resize: int, crop: int, how: str) -> None:
    import torch
    from torchvision.transforms import InterpolationMode, functional
    from torchvision.transforms._presets import ImageClassification

    pre = Preprocessing(resize, crop, mean=IMAGENET.mean, std=IMAGENET.std, interpolation=how)  # type: ignore[arg-type]
    values, geometry = pre.apply(picture)
    mode = InterpolationMode(how)
    image = Image.fromarray(picture.pixels)
    resized = functional.resize(image, [resize], interpolation=mode)
    assert geometry.resized == (resized.height, resized.width)
    cropped = np.asarray(functional.center_crop(resized, [crop]))
    np.testing.assert_array_equal(pre.undo(values), cropped)
    expected = ImageClassification(crop_size=crop, resize_size=resize, interpolation=mode)(image)
    assert isinstance(expected, torch.Tensor)
    np.testing.assert_allclose(values, expected.permute(1, 2, 0).numpy(), rtol=0, atol=1e-6)
    top, left, height, width = geometry.crop
    np.testing.assert_array_equal(np.asarray(resized)[top : top + height, left : left + width], cropped)


@pytest.mark.parametrize("size", [(301, 199), (199, 301), (97, 410), (33, 33), (256, 256), (225, 1001), (57, 58)])
@pytest.mark.parametrize("sizes", [(64, 57), (65, 64), (32, 32), (256, 224)])
@pytest.mark.parametrize("how", ["bilinear", "bicubic", "nearest", "lanczos"])
def test_synthetic_pictures_equal_torchvision(size: tuple[int, int], sizes: tuple[int, int], how: str) -> None:
    assert_torchvision_agrees(noise(*size), *sizes, how)


@pytest.mark.parametrize("path", [pytest.param(p, id=p.name, marks=with_assets) for p in PHOTOGRAPHS or [ASSETS]])
def test_photographs_equal_torchvision(path: Path) -> None:
    picture = read(path)
    rgb = picture if picture.pixels.shape[2] == 3 else Picture(np.repeat(picture.pixels, 3, axis=2), picture.name)
    assert_torchvision_agrees(rgb, 256, 224, "bilinear")
    assert_torchvision_agrees(rgb, 232, 224, "bicubic")


def test_the_crop_is_rounded_half_to_even_as_torchvision_does() -> None:
    columns = np.arange(12, dtype=np.uint8)
    for width, left in [(8, 0), (9, 0), (10, 1), (11, 2), (12, 2)]:  # (width - 8) / 2 is 0, 0.5, 1, 1.5, 2
        picture = Picture(np.broadcast_to(columns[:width, None], (8, width, 1)).copy(), "columns")
        pre = Preprocessing(crop=8, channels=1, scale=1)
        values, geometry = pre.apply(picture)
        np.testing.assert_array_equal(values[0, :, 0], np.arange(left, left + 8))
        assert geometry.crop == (0, left, 8, 8)


def test_the_numbers_are_pixel_times_scale_minus_mean_over_std_in_the_models_order() -> None:
    picture = Picture(np.array([[[255, 51, 0]]], np.uint8), "dot")
    pre = Preprocessing(mean=(0.5, 0.2, 0.1), std=(0.5, 2.0, 0.25))
    np.testing.assert_allclose(pre.apply(picture)[0][0, 0], [1.0, 0.0, -0.4], atol=1e-7)
    flipped = Preprocessing(mean=(0.5, 0.2, 0.1), std=(0.5, 2.0, 0.25), order="bgr")
    np.testing.assert_allclose(flipped.apply(picture)[0][0, 0], [-1.0, 0.0, 3.6], atol=1e-6)
    np.testing.assert_allclose(flipped.value_of((255, 51, 0)), [-1.0, 0.0, 3.6], atol=1e-6)
    np.testing.assert_allclose(flipped.value_of(255), [1.0, 0.4, 3.6], atol=1e-6)
    np.testing.assert_array_equal(flipped.undo(np.float32([[[-1.0, 0.0, 3.6]]])), picture.pixels)
    np.testing.assert_array_equal(pre.undo(np.float32([[[9, 0.0, -9]]])), [[[255, 51, 0]]])


@given(st.sampled_from(["rgb", "bgr"]), st.floats(1e-3, 300), st.floats(-200, 200), st.floats(0.01, 100))
def test_undo_gives_every_pixel_back(order: str, scale: float, mean: float, std: float) -> None:
    pre = Preprocessing(scale=scale, mean=(mean, 0.0, mean / 2), std=(std,), order=order)  # type: ignore[arg-type]
    pixels = np.arange(768).reshape(16, 16, 3).astype(np.uint8)
    values, _ = pre.apply(Picture(pixels, "all"))
    np.testing.assert_array_equal(pre.undo(values), pixels)
    np.testing.assert_array_equal(values[3, 5], pre.value_of(pixels[3, 5]))


def test_exact_sizes_are_height_by_width() -> None:
    values, geometry = Preprocessing.parse("resize=20x30,crop=10x12").apply(noise(41, 37))
    assert values.shape == (10, 12, 3)
    assert geometry.resized == (20, 30)
    assert geometry.crop == (5, 9, 10, 12)
    expected = np.asarray(Image.fromarray(noise(41, 37).pixels).resize((30, 20), Image.Resampling.BILINEAR))
    np.testing.assert_allclose(values * 255, expected[5:15, 9:21], atol=1e-4)


def test_grey_becomes_colour_by_copies_and_colour_grey_by_luminance() -> None:
    grey = noise(5, 7, 1)
    values, _ = Preprocessing(scale=1).apply(grey)
    np.testing.assert_array_equal(values, np.repeat(grey.pixels, 3, axis=2))
    colour = noise(5, 7)
    values, _ = Preprocessing(scale=1, channels=1).apply(colour)
    assert np.abs(values[..., 0] - colour.pixels @ [0.299, 0.587, 0.114]).max() <= 0.51


def test_six_channels_are_resized_one_by_one() -> None:
    picture = noise(19, 23, 6)
    values, _ = Preprocessing.parse("resize=11,crop=9,channels=6,mean=1/2/3/4/5/6,scale=1").apply(picture)
    for i in range(6):
        alone = Picture(picture.pixels[..., i : i + 1].copy(), "one")
        expected, _ = Preprocessing(11, 9, scale=1, mean=(i + 1,), channels=1).apply(alone)
        np.testing.assert_array_equal(values[..., i], expected[..., 0])


@pytest.mark.parametrize("given_channels, wanted", [(4, 3), (2, 1), (1, 6), (3, 4)])
def test_other_channel_counts_are_refused_with_both_counts(given_channels: int, wanted: int) -> None:
    with pytest.raises(InputError, match=f"noise has {given_channels} channels, expected {wanted}"):
        Preprocessing(channels=wanted).apply(noise(4, 4, given_channels))


def test_a_crop_larger_than_the_picture_is_refused_with_both_sizes() -> None:
    with pytest.raises(
        InputError, match="noise has 10 x 12 pixels after resizing, expected at least the crop, 11 x 11"
    ):
        Preprocessing(crop=11).apply(noise(10, 12))


def test_a_thin_strip_is_refused_before_it_fills_the_memory() -> None:
    with pytest.raises(InputError, match="makes 256 x 25600000"):
        IMAGENET.apply(Picture(np.zeros((1, 100_000, 3), np.uint8), "strip"))


def test_the_flag_reads_as_written() -> None:
    text = (
        "resize=256,crop=224x192,mean=0.485/0.456/0.406,std=0.2,scale=1/128,order=bgr,channels=3,interpolation=bicubic"
    )
    assert Preprocessing.parse(text) == Preprocessing(
        256, (224, 192), 1 / 128, (0.485, 0.456, 0.406), (0.2,), "bgr", 3, "bicubic"
    )
    assert Preprocessing.parse(" resize = 8 , order = RGB ") == Preprocessing(resize=8)


finite = st.floats(allow_nan=False, allow_infinity=False)
sizes = st.none() | st.integers(1, 5000) | st.tuples(st.integers(1, 5000), st.integers(1, 5000))


@st.composite
def preprocessings(draw: st.DrawFn) -> Preprocessing:
    channels = draw(st.integers(1, 6))
    lengths = st.sampled_from([1, channels])
    means, stds = draw(lengths), draw(lengths)
    return Preprocessing(
        resize=draw(sizes),
        crop=draw(sizes),
        scale=draw(finite.filter(bool) | st.just(1 / 255)),
        mean=tuple(draw(st.lists(finite, min_size=means, max_size=means))),
        std=tuple(draw(st.lists(finite.map(abs).filter(bool), min_size=stds, max_size=stds))),
        order=draw(st.sampled_from(["rgb", "bgr"] if channels == 3 else ["rgb"])),  # type: ignore[arg-type]
        channels=channels,
        interpolation=draw(st.sampled_from(["bilinear", "bicubic", "nearest", "lanczos"])),  # type: ignore[arg-type]
    )


@given(preprocessings())
def test_text_brings_the_same_object_back(pre: Preprocessing) -> None:
    assert Preprocessing.parse(str(pre)) == pre
    assert hash(Preprocessing.parse(str(pre))) == hash(pre)


def test_the_text_of_imagenet() -> None:
    assert str(IMAGENET) == (
        "resize=256,crop=224,scale=1/255,mean=0.485/0.456/0.406,std=0.229/0.224/0.225,"
        "order=rgb,channels=3,interpolation=bilinear"
    )


@pytest.mark.parametrize(
    "text, expected",
    [
        ("resise=256", "Did you mean 'resize'?"),
        ("size", "'size'"),
        ("", "''"),
        ("resize=256,crop", "crop=''"),
        ("resize=256,resize=224", "resize twice"),
        ("resize=big", "resize='big'"),
        ("resize=0", "resize=0"),
        ("crop=-3", "crop=-3"),
        ("crop=1x2x3", "crop=(1, 2, 3)"),
        ("scale=1/0", "scale='1/0'"),
        ("scale=0", "scale=0.0"),
        ("scale=nan", "scale=nan"),
        ("mean=0.5/x", "mean='0.5/x'"),
        ("mean=inf", "mean=(inf,)"),
        ("mean=1/2", "mean=(1.0, 2.0)"),
        ("std=0", "std=(0.0,)"),
        ("std=0.5/0/0.5", "std=(0.5, 0.0, 0.5)"),
        ("std=-1", "std=(-1.0,)"),
        ("order=grb", "order='grb'"),
        ("order=bgr,channels=1", "order='bgr'"),
        ("channels=0", "channels=0"),
        ("channels=2.5", "channels='2.5'"),
        ("interpolation=cubic", "bicubic"),
    ],
)
def test_a_bad_flag_is_named(text: str, expected: str) -> None:
    assert expected in refusal(text)


def test_an_unknown_keras_module_suggests_the_nearest() -> None:
    with pytest.raises(InputError, match="Did you mean 'densenet'"):
        keras_applications("densnet", 224)


@pytest.mark.parametrize("orientation, rotate", [(1, 0), (6, -90), (8, 90), (3, 180)])
@pytest.mark.parametrize("size", [(300, 400), (400, 300), (301, 227)])
def test_a_planted_block_comes_back_to_its_place(
    tmp_path: Path, size: tuple[int, int], orientation: int, rotate: int
) -> None:
    seen = np.zeros((*size, 3), np.uint8)
    top, left = size[0] // 2 - 30, size[1] // 2 + 20
    seen[top : top + 20, left : left + 20] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(seen).rotate(-rotate, expand=True).save(path := tmp_path / "a.png", exif=exif)
    picture = read(path)
    np.testing.assert_array_equal(picture.pixels, seen)
    values, geometry = Preprocessing.parse("resize=72,crop=64").apply(picture)
    back = geometry.on_original(values[..., 0])
    assert back.shape == size
    assert back.sum() == pytest.approx(400, rel=0.05)
    centre = np.array([back.sum(axis=1) @ np.arange(size[0]), back.sum(axis=0) @ np.arange(size[1])]) / back.sum()
    half_a_resized_pixel = 0.5 * size[0] / geometry.resized[0]
    assert (np.abs(centre - (top + 9.5, left + 9.5)) <= half_a_resized_pixel).all()
    assert (back[~geometry.seen()] == 0).all()


def test_pixels_outside_of_what_was_seen_cannot_change_the_input() -> None:
    picture = noise(90, 150)
    pre = Preprocessing.parse("resize=30,crop=24,interpolation=nearest")
    values, geometry = pre.apply(picture)
    blanked = np.where(geometry.seen()[..., None], picture.pixels, 0)
    np.testing.assert_array_equal(pre.apply(Picture(blanked, "blanked"))[0], values)
    inside = np.where(geometry.seen()[..., None], 0, picture.pixels)
    assert (pre.apply(Picture(inside, "inside"))[0] == 0).all()
