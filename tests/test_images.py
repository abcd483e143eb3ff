"""Reading files, PIL images and arrays: every mode and orientation, and every way that a file can be bad."""

from __future__ import annotations

import io
import os
import struct
import tempfile
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFile

from sightline.errors import InputError
from sightline.images import read

RGB = np.random.default_rng(0).integers(0, 256, (13, 17, 3), dtype=np.uint8)
GREY = RGB[..., 0].copy()


def saved(tmp_path: Path, image: Image.Image, name: str, **options: object) -> Path:
    image.save(path := tmp_path / name, **options)
    return path


def refusal(source: object, **options: int) -> str:
    with pytest.raises(InputError) as caught:
        read(source, **options)  # type: ignore[arg-type]
    assert len(str(caught.value).splitlines()) == 2
    return str(caught.value)


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tiff", "a.webp"])
def test_lossless_files_give_their_pixels(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path, Image.fromarray(RGB), name, lossless=True)
    picture = read(path)
    assert picture.name == str(path)
    np.testing.assert_array_equal(picture.pixels, RGB)
    np.testing.assert_array_equal(read(str(path)).pixels, RGB)


def test_arrays_keep_their_channels_and_are_copied() -> None:
    six = np.concatenate([RGB, RGB], axis=2)
    picture = read(six)
    assert picture.name == "array"
    np.testing.assert_array_equal(picture.pixels, six)
    np.testing.assert_array_equal(read(GREY).pixels, GREY[..., None])
    before = picture.pixels.copy()
    six[:] = 0
    np.testing.assert_array_equal(picture.pixels, before)


@pytest.mark.parametrize("array", [RGB.astype(np.float32), RGB[None], np.zeros((0, 3), np.uint8), GREY > 3, GREY[0]])
def test_other_arrays_are_refused(array: np.ndarray) -> None:
    assert f"shape {array.shape}" in refusal(array)


# What a viewer does with pixel (row, column) of the stored array, for each EXIF orientation, from the standard's text:
# where the 0th row and the 0th column of the stored picture are seen.
UPRIGHT = {
    1: lambda a: a,  # top, left
    2: lambda a: a[:, ::-1],  # top, right
    3: lambda a: a[::-1, ::-1],  # bottom, right
    4: lambda a: a[::-1],  # bottom, left
    5: lambda a: a.swapaxes(0, 1),  # left, top
    6: lambda a: a.swapaxes(0, 1)[:, ::-1],  # right, top
    7: lambda a: a.swapaxes(0, 1)[::-1, ::-1],  # right, bottom
    8: lambda a: a.swapaxes(0, 1)[::-1],  # left, bottom
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("name", ["a.png", "a.tiff", "a.webp"])
def test_every_orientation_of_a_file_is_put_upright(tmp_path: Path, name: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path, Image.fromarray(RGB), name, exif=exif, lossless=True)
    np.testing.assert_array_equal(read(path).pixels, UPRIGHT[orientation](RGB))


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_every_orientation_of_a_jpeg_and_a_pil_image_is_put_upright(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path, Image.fromarray(RGB), "a.jpg", exif=exif, quality=95)
    with Image.open(path) as image:
        stored = np.asarray(image.convert("RGB"))
        np.testing.assert_array_equal(read(path).pixels, UPRIGHT[orientation](stored))
        picture = read(image)
        assert picture.name == "image"
        np.testing.assert_array_equal(picture.pixels, UPRIGHT[orientation](stored))
        np.testing.assert_array_equal(np.asarray(image), stored)
        assert image.getexif()[0x0112] == orientation


def test_sixteen_bit_grey_is_turned_upright_too(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = saved(tmp_path, Image.fromarray(GREY.astype(np.uint16) * 257), "a.png", exif=exif)
    np.testing.assert_array_equal(read(path).pixels[..., 0], UPRIGHT[6](GREY))


def test_alpha_is_laid_on_white(tmp_path: Path) -> None:
    alpha = np.linspace(0, 255, 17).astype(np.uint8) * np.ones((13, 1), np.uint8)
    image = Image.fromarray(np.dstack([RGB, alpha]))
    part = alpha[..., None] / 255
    expected = RGB * part + 255 * (1 - part)
    assert np.abs(read(saved(tmp_path, image, "a.png")).pixels - expected).max() <= 1
    grey = read(saved(tmp_path, Image.fromarray(np.dstack([GREY, alpha])), "grey.png")).pixels
    assert grey.shape == (13, 17, 1)
    assert np.abs(grey[..., 0] - expected[..., 0]).max() <= 1


def test_transparent_palette_colours_and_keys_are_white(tmp_path: Path) -> None:
    indices = (np.arange(12).reshape(3, 4) % 3).astype(np.uint8)
    image = Image.fromarray(indices)
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    colours = np.array([[10, 20, 30], [40, 50, 60], [70, 80, 90]])
    np.testing.assert_array_equal(read(saved(tmp_path, image, "a.png")).pixels, colours[indices])
    colours[1] = 255
    np.testing.assert_array_equal(read(saved(tmp_path, image, "b.png", transparency=1)).pixels, colours[indices])
    keyed = np.where(indices == 2, 255, indices)
    for bits, scale in ((np.uint8, 1), (np.uint16, 257)):
        stored = Image.fromarray(indices.astype(bits) * bits(scale))
        path = saved(tmp_path, stored, "c.png", transparency=2 * scale)
        np.testing.assert_array_equal(read(path).pixels[..., 0], keyed)


def test_grey_stays_one_channel_and_one_bit_is_black_and_white(tmp_path: Path) -> None:
    np.testing.assert_array_equal(read(saved(tmp_path, Image.fromarray(GREY), "a.png")).pixels[..., 0], GREY)
    bits = Image.fromarray(GREY > 100)
    assert bits.mode == "1"
    expected = np.where(GREY > 100, 255, 0)[..., None]
    np.testing.assert_array_equal(read(saved(tmp_path, bits, "b.png")).pixels, expected)


EVERY_16_BIT = np.arange(65536, dtype=np.uint16).reshape(256, 256)


@pytest.mark.parametrize("name", ["a.png", "a.tiff"])
def test_sixteen_bits_are_rounded_and_never_clipped(tmp_path: Path, name: str) -> None:
    expected = np.rint(EVERY_16_BIT / 257)[..., None]
    np.testing.assert_array_equal(read(saved(tmp_path, Image.fromarray(EVERY_16_BIT), name)).pixels, expected)


@pytest.mark.parametrize("mode, dtype", [("I;16", "<u2"), ("I;16B", ">u2"), ("I", "<i4")])
def test_every_mode_of_wide_grey_reads_the_same(mode: str, dtype: str) -> None:
    image = Image.frombytes(mode, (256, 256), EVERY_16_BIT.astype(dtype).tobytes())
    assert image.mode == mode
    np.testing.assert_array_equal(read(image).pixels[..., 0], np.rint(EVERY_16_BIT / 257))


def test_wider_numbers_and_unscaled_floats_are_refused(tmp_path: Path) -> None:
    assert "0 to 65536" in refusal(Image.fromarray(np.array([[0, 65536]], np.int32)))
    assert "-1 to 5" in refusal(Image.fromarray(np.array([[-1, 5]], np.int32)))
    unit = np.linspace(0, 1, 256, dtype=np.float32)[None]
    np.testing.assert_array_equal(
        read(saved(tmp_path, Image.fromarray(unit), "a.tiff")).pixels[0, :, 0], np.arange(256)
    )
    for values in ([0, 255], [0, 1.01], [0, np.nan], [-0.1, 0.5]):
        assert "expected 0 (black) to 1" in refusal(Image.fromarray(np.array([values], np.float32)))


@pytest.mark.parametrize(
    "mode, stored, seen",
    [
        ("CMYK", (0, 255, 255, 0), (255, 0, 0)),
        ("YCbCr", (128, 128, 128), (128, 128, 128)),
        ("HSV", (0, 255, 255), (255, 0, 0)),
        ("LAB", (255, 0, 0), (255, 255, 255)),  # a and b are signed bytes, as in a TIFF
        ("LAB", (138, 81, 70), (255, 0, 0)),  # red under D50 is L* 54.3 of 100, a* 80.8, b* 69.9
        ("PA", (0, 0), (255, 255, 255)),
        ("RGBa", (0, 0, 0, 0), (255, 255, 255)),
    ],
)
def test_other_colour_spaces_become_rgb(mode: str, stored: tuple[int, ...], seen: tuple[int, ...]) -> None:
    pixels = read(Image.frombytes(mode, (1, 1), bytes(stored))).pixels
    assert np.abs(pixels[0, 0].astype(int) - seen).max() <= 5  # one step of a* or b* at the edge of sRGB


def test_a_cmyk_jpeg_and_tiff_are_seen_in_rgb(tmp_path: Path) -> None:
    red = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    for name in ("a.jpg", "a.tiff"):
        pixels = read(saved(tmp_path, red, name)).pixels
        assert np.abs(pixels.astype(int) - (255, 0, 0)).max() <= 3


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.webp", "a.tiff"])
def test_the_first_frame_of_an_animation_is_read(tmp_path: Path, name: str) -> None:
    frames = [Image.new("RGB", (5, 4), colour) for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255))]
    path = saved(tmp_path, frames[0], name, save_all=True, append_images=frames[1:], lossless=True)
    np.testing.assert_array_equal(read(path).pixels, np.broadcast_to((255, 0, 0), (4, 5, 3)))


def test_files_that_are_not_pictures_are_refused(tmp_path: Path) -> None:
    assert "no file" in refusal(tmp_path / "missing.png")
    assert "no file" in refusal("nul\0byte.png")
    assert "is a folder" in refusal(tmp_path)
    assert "cannot be opened" in refusal("x" * 5000)
    os.mkfifo(tmp_path / "pipe.png")
    assert "no file" in refusal(tmp_path / "pipe.png")
    (tmp_path / "empty.png").touch()
    assert "is empty" in refusal(tmp_path / "empty.png")
    (tmp_path / "text.png").write_text("hello, I am a text file")
    assert "not a picture" in refusal(tmp_path / "text.png")
    (tmp_path / "riff.webp").write_bytes(b"RIFF\x24\0\0\0WAVEfmt ")
    assert "cannot be decoded" in refusal(tmp_path / "riff.webp")
    assert "is a URL" in refusal("https://example.org/cat.png")
    assert "bytes" in refusal(b"cat.png")
    assert "NoneType" in refusal(None)


KINDS = {
    "png": {},
    "jpg": {"quality": 90},
    "progressive.jpg": {"progressive": True},
    "webp": {"lossless": True},
    "lossy.webp": {},
    "bmp": {},
    "tiff": {},
    "lzw.tiff": {"compression": "tiff_lzw"},
    "gif": {},
}


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("kind", KINDS)
def test_a_truncated_file_is_never_half_a_picture(tmp_path: Path, kind: str) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    path = saved(tmp_path, Image.fromarray(noise), f"a.{kind}", **KINDS[kind])
    whole, data = read(path).pixels, path.read_bytes()
    refused = 0
    for length in range(1, len(data), max(1, len(data) // 60)):
        path.write_bytes(data[:length])
        try:
            np.testing.assert_array_equal(read(path).pixels, whole)
        except InputError:
            refused += 1
    assert refused >= 50


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@given(st.sampled_from(sorted(KINDS)), st.data())
def test_a_damaged_file_is_read_or_refused_and_never_crashes(kind: str, data: st.DataObject) -> None:
    Image.fromarray(RGB).save(buffer := io.BytesIO(), kind.rsplit(".")[-1].replace("jpg", "jpeg"), **KINDS[kind])
    damaged = bytearray(buffer.getvalue())
    for at in data.draw(st.lists(st.integers(0, len(damaged) - 1), min_size=1, max_size=8)):
        damaged[at] = data.draw(st.integers(0, 255))
    with tempfile.NamedTemporaryFile() as file:
        file.write(damaged)
        file.flush()
        try:
            picture = read(file.name, max_pixels=10_000)
        except InputError as error:
            assert len(str(error).splitlines()) == 2
        else:
            assert picture.pixels.dtype == np.uint8
            assert picture.pixels.shape[2] in (1, 3)


def png_that_claims(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("size", [(8001, 8000), (10_000, 10_000), (60_000, 60_000)])
def test_a_decompression_bomb_is_an_error_before_it_is_decoded(tmp_path: Path, size: tuple[int, int]) -> None:
    (path := tmp_path / "bomb.png").write_bytes(png_that_claims(*size))
    text = refusal(path)
    assert f"{size[0] * size[1]:,} pixels" in text
    assert f"max_pixels={size[0] * size[1]} (--max-pixels" in text


@pytest.mark.filterwarnings("error")
def test_the_limit_is_ours_in_both_directions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path, Image.fromarray(RGB), "a.png")
    assert "221 pixels" in refusal(path, max_pixels=220)
    with Image.open(path) as image:
        assert "221 pixels" in refusal(image, max_pixels=220)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    np.testing.assert_array_equal(read(path, max_pixels=221).pixels, RGB)
    assert Image.MAX_IMAGE_PIXELS == 10


def test_pillow_is_left_as_it_was(tmp_path: Path) -> None:
    before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters)
    read(saved(tmp_path, Image.fromarray(RGB), "a.png"))
    (tmp_path / "bomb.png").write_bytes(png_that_claims(60_000, 60_000))
    refusal(tmp_path / "bomb.png")
    assert before == (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters))
