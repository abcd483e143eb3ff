"""Pictures: from a file, a PIL image or an array to the pixels that a person sees, and from a map back to those."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageOps,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from sightline.arrays import Array, sides
from sightline.errors import InputError

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
Source = str | os.PathLike[str] | Image.Image | NDArray[np.uint8]

MAX_PIXELS = 64_000_000
_KINDS = "PNG, JPEG, WebP, BMP, TIFF or GIF"

# Image.open checks sizes against a limit of the whole process and only warns below twice that, so it is passed by.
_DECODERS: dict[bytes, Callable[[IO[bytes]], Image.Image]] = {
    b"\x89PNG\r\n\x1a\n": PngImagePlugin.PngImageFile,
    b"\xff\xd8\xff": JpegImagePlugin.jpeg_factory,
    b"RIFF": WebPImagePlugin.WebPImageFile,
    b"BM": BmpImagePlugin.BmpImageFile,
    b"II*\0": TiffImagePlugin.TiffImageFile,
    b"MM\0*": TiffImagePlugin.TiffImageFile,
    b"II+\0": TiffImagePlugin.TiffImageFile,
    b"MM\0+": TiffImagePlugin.TiffImageFile,
    b"GIF8": GifImagePlugin.GifImageFile,
}


@dataclass(frozen=True, eq=False)
class Picture:
    """What a person sees: `pixels` (h, w, c) uint8, and the `name` it came under (its path, "image" or "array")."""

    pixels: Pixels
    name: str


class LaterPicture(Picture):
    """A picture that is drawn when it is first looked at: most maps of a large batch never are."""

    def __init__(self, draw: Callable[[], Pixels], name: str) -> None:
        """`draw` makes the pixels."""
        self.__dict__.update(name=name, _draw=draw)

    @cached_property
    def pixels(self) -> Pixels:
        """The pixels (h, w, c) uint8."""
        made: Pixels = self.__dict__["_draw"]()
        return made


def read(source: Source, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """The pixels of a file, a PIL image or a uint8 array, upright and on white.

    A file's first frame is read. Greyscale stays one channel (16 bit becomes 8 by rounding value / 257, floating point
    is taken as 0 to 1); any other file becomes RGB; an array (h, w) or (h, w, c) keeps its channels. Embedded colour
    profiles are not applied, as in torchvision and Keras. Raises InputError for anything that is not a whole picture
    of at most `max_pixels` pixels (height times width).
    """
    if isinstance(source, np.ndarray):
        return Picture(_array_pixels(source), "array")
    if isinstance(source, Image.Image):
        with _decoding("image"):
            return Picture(_seen_pixels(source, "image", max_pixels), "image")
    if isinstance(source, (str, os.PathLike)):
        name = os.fspath(source)
        with _opened(name) as file, _decoding(name):
            return Picture(_seen_pixels(_decoder(file, name)(file), name, max_pixels), name)
    raise InputError(
        f"A picture was given as {type(source).__name__}, expected a path, a PIL image or a uint8 array.",
        "Give the path of a file, PIL.Image.open(...) or numpy.asarray(...).",
    )


def _array_pixels(array: NDArray[Any]) -> Pixels:
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or array.size == 0:
        raise InputError(
            f"An array of {array.dtype} with shape {array.shape} was given, expected uint8 (h, w) or (h, w, c).",
            "Pixels are 0 to 255, channels last; a float array with a batch axis is taken as the model's own input.",
        )
    return np.array(array if array.ndim == 3 else array[..., None])


def _opened(name: str) -> IO[bytes]:
    if "://" in name:
        raise InputError(f"{name} is a URL, expected a file.", "Download it first and give the path of the file.")
    path = Path(name)
    try:
        if path.is_dir():
            raise InputError(f"{name} is a folder, expected a picture.", "Give the files in it, for example *.png.")
        if not path.is_file():
            raise InputError(f"There is no file {name}.", "Check the name and the folder it is in.")
        return path.open("rb")
    except OSError as error:
        raise InputError(f"{name} cannot be opened: {error.strerror}.", "Check its name and permissions.") from error


def _decoder(file: IO[bytes], name: str) -> Callable[[IO[bytes]], Image.Image]:
    start = file.read(8)
    file.seek(0)
    if not start:
        raise InputError(f"{name} is empty (0 bytes), expected a picture.", "Copy or export it again.")
    for magic, decoder in _DECODERS.items():
        if start.startswith(magic):
            return decoder
    raise InputError(
        f"{name} is not a picture that can be read, whatever its name; expected {_KINDS}.",
        "Open it in an image viewer and export it as PNG.",
    )


@contextmanager
def _decoding(name: str) -> Iterator[None]:
    """Pillow's decoders raise almost every type there is, depending on where a file is damaged."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"{name} cannot be decoded ({error or type(error).__name__}); expected a whole {_KINDS}.",
            "The file is damaged, cut short or of a rare kind: copy it again, or export it as PNG.",
        ) from error


def _seen_pixels(image: Image.Image, name: str, max_pixels: int) -> Pixels:
    width, height = image.size
    if not 0 < width * height <= max_pixels:
        raise InputError(
            f"{name} has {width} x {height} = {width * height:,} pixels, expected 1 to {max_pixels:,}.",
            f"If it can be trusted, raise the limit: max_pixels={width * height} (--max-pixels on the command line).",
        )
    pixels = _eight_bit(ImageOps.exif_transpose(image), name)
    return pixels if pixels.ndim == 3 else pixels[..., None]


def _eight_bit(image: Image.Image, name: str) -> Pixels:
    if image.mode.startswith("I"):
        return _from_16_bit(image, name)
    if image.mode == "F":
        return _from_unit_range(np.asarray(image), name)
    grey = image.mode in ("1", "L", "LA", "La")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.array(image.convert("L" if grey else "RGB"))


def _from_16_bit(image: Image.Image, name: str) -> Pixels:
    values = np.asarray(image.convert("I"))
    if values.min() < 0 or values.max() > 65535:
        raise InputError(
            f"{name} holds whole numbers from {values.min()} to {values.max()}, expected 0 to 65535 (16 bit).",
            "Scale it and save it with 8 or 16 bits.",
        )
    pixels = ((values + 128) // 257).astype(np.uint8)
    pixels[values == image.info.get("transparency", -1)] = 255
    return pixels


def _from_unit_range(values: NDArray[np.float32], name: str) -> Pixels:
    if not ((values >= 0) & (values <= 1)).all():
        raise InputError(
            f"{name} holds floating-point numbers from {values.min():g} to {values.max():g}, expected 0 (black) to 1.",
            "Scale it to 0..1, or save it with 8 or 16 bits; no range is guessed.",
        )
    return np.rint(values * 255).astype(np.uint8)


@dataclass(frozen=True)
class Geometry:
    """Where the model's input lies on the picture: sizes (h, w), and the `crop` (top, left, h, w) in resized pixels."""

    original: tuple[int, int]
    resized: tuple[int, int]
    crop: tuple[int, int, int, int]

    def on_original(self, values: NDArray[Any]) -> Floats:
        """A map (h, w) of the crop's size on the picture's own pixels: (H, W) float32.

        Enlarged bilinearly (half-pixel centres, edges held) or averaged over each pixel's area; exactly 0 where the
        model saw nothing. Raises InputError for a map of another size.
        """
        if values.shape != self.crop[2:]:
            raise InputError(
                f"A map of shape {values.shape} was given, expected the model's input size {self.crop[2:]}.",
                "Resize the map to the model's input before putting it on the picture.",
            )
        rows, columns = self._axes()
        down = _spread(values.astype(np.float32), *rows)
        return np.ascontiguousarray(_spread(down.T, *columns).T)

    def cells(self, mask: NDArray[np.bool_], grid: tuple[int, int]) -> Floats:
        """A mask (H, W) of the picture's own pixels on a `grid` (h, w) over the crop: the share of each cell it covers."""
        rows, columns = (_coverage(*axis, cells) for axis, cells in zip(self._axes(), grid))
        return np.asarray(rows @ mask @ columns.T, np.float32)

    def seen(self) -> NDArray[np.bool_]:
        """(H, W): True for the pixels of the picture that lie in the crop, at least in part."""
        rows, columns = (_overlaps(*axis) for axis in self._axes())
        return np.logical_and.outer(rows, columns)

    def _axes(self) -> list[tuple[int, int, int, int]]:
        return [(self.original[i], self.resized[i], self.crop[i], self.crop[i + 2]) for i in (0, 1)]


def whole(x: Array, channel: int) -> tuple[Geometry, ...]:
    """Where images (n, ...) lie that are the model's input itself: on themselves."""
    size = sides(x, channel)
    return (Geometry(size, size, (0, 0, *size)),) * int(x.shape[0])


def _overlaps(original: int, resized: int, start: int, count: int) -> NDArray[np.bool_]:
    """In whole numbers: pixel y of the picture covers resized pixels y * resized / original and one such step on."""
    edges = np.arange(original + 1) * resized
    return (edges[1:] > start * original) & (edges[:-1] < (start + count) * original)


def _coverage(original: int, resized: int, start: int, count: int, cells: int) -> NDArray[np.float64]:
    """(cells, original): how much of each of the cells of a crop the pixels of the picture cover, along one axis."""
    edges = (start * cells + np.arange(cells + 1) * count) * original / (cells * resized)
    return np.diff(np.clip(edges[:, None] - np.arange(original), 0, 1), axis=0) / np.diff(edges)[:, None]


def _spread(values: Floats, original: int, resized: int, start: int, count: int) -> Floats:
    """`values` (count, ...) of a crop, along the first axis of the picture."""
    step = resized / original
    if step > 1:
        edges = np.clip(np.arange(original + 1) * resized / original - start, 0, count)
        total = np.concatenate([np.zeros_like(values[:1], np.float64), values.cumsum(axis=0, dtype=np.float64)])
        return (np.diff(_between(total, edges), axis=0) / step).astype(np.float32)
    centres = np.clip((np.arange(original) + 0.5) * step - 0.5 - start, 0, count - 1)
    spread = _between(values, centres)
    spread[~_overlaps(original, resized, start, count)] = 0
    return spread


def _between(values: NDArray[Any], at: NDArray[np.float64]) -> NDArray[Any]:
    """Linear interpolation of `values` along the first axis at the positions `at`."""
    low = np.floor(at).astype(np.intp)
    part = (at - low).astype(values.dtype)[:, None]
    mixed: NDArray[Any] = values[low] * (1 - part) + values[np.minimum(low + 1, len(values) - 1)] * part
    return mixed
