"""Preprocessing as a declared object: from a picture to the numbers that a model wants."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from sightline.errors import InputError, nearest
from sightline.images import MAX_PIXELS, Floats, Geometry, Picture, Pixels

Size = int | tuple[int, int] | None

_FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "nearest": Image.Resampling.NEAREST,
    "lanczos": Image.Resampling.LANCZOS,
}


@dataclass(frozen=True)
class Preprocessing:
    """How a model wants its pictures: the number that reaches it is (pixel * scale - mean) / std.

    `resize` is the shorter side (aspect kept) or exactly (h, w), in pixels; `crop` the square or (h, w) at the centre.
    `mean` and `std` have one value, or one a channel in the model's own `order`. Raises InputError for a value out of
    its range. Sizes and rounding are torchvision's, so that its presets come out the same to the last pixel.
    """

    resize: Size = None
    crop: Size = None
    scale: float = 1 / 255
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    order: Literal["rgb", "bgr"] = "rgb"
    channels: int = 3
    interpolation: Literal["bilinear", "bicubic", "nearest", "lanczos"] = "bilinear"

    def __post_init__(self) -> None:
        for name in ("mean", "std"):
            object.__setattr__(self, name, tuple(float(v) for v in np.ravel(getattr(self, name))))
        for name in ("resize", "crop"):
            value = getattr(self, name)
            object.__setattr__(self, name, tuple(value) if isinstance(value, list) else value)
        _check(self)

    @classmethod
    def parse(cls, text: str) -> Preprocessing:
        """Read "resize=256,crop=224,mean=0.485/0.456/0.406,std=0.5"; a size (h, w) is written 256x192, a scale 1/255.

        Raises InputError for an unknown key (suggesting the nearest), a key given twice and a value that does not read.

        >>> Preprocessing.parse("resize=256,crop=224,mean=0.5,std=0.5").value_of(255)
        array([1., 1., 1.], dtype=float32)
        """
        values: dict[str, Any] = {}
        for part in text.split(","):
            key, _, value = (piece.strip() for piece in part.partition("="))
            if key not in _READERS:
                raise InputError(
                    f"The preprocessing {text!r} has the key {key!r}, expected {', '.join(_READERS)}.",
                    nearest(key, _READERS, "the keys above, each written key=value and separated by commas"),
                )
            if key in values:
                raise InputError(f"The preprocessing {text!r} gives {key} twice.", "Give each key once.")
            values[key] = _read(key, value)
        return cls(**values)

    def __str__(self) -> str:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return ",".join(f"{key}={_WRITERS[key](value)}" for key, value in values.items() if value is not None)

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width of the input where they are declared, or the square that `resize` alone gives."""
        side = self.resize if self.crop is None else self.crop
        return (side, side) if isinstance(side, int) else side

    def apply(self, picture: Picture) -> tuple[Floats, Geometry]:
        """The model's input (h, w, c) float32 for `picture`, and where it lies on it.

        Raises InputError where the channels cannot be matched or the crop is larger than the resized picture.
        """
        pixels = _with_channels(picture, self.channels)
        original = (pixels.shape[0], pixels.shape[1])
        resized = _resized_size(original, self.resize, picture.name)
        top, left, height, width = crop = _centre(resized, self.crop, picture.name)
        pixels = _resized(pixels, resized, _FILTERS[self.interpolation])
        pixels = self._ordered(pixels[top : top + height, left : left + width])
        table = self._numbers(np.repeat(np.arange(256.0)[:, None], self.channels, axis=1))
        values = np.stack([table[:, i][pixels[..., i]] for i in range(self.channels)], axis=-1)
        return values, Geometry(original, resized, crop)

    def undo(self, x: NDArray[Any]) -> Pixels:
        """Model-input values (..., c) as pixels to look at: uint8, RGB order, rounded and clipped to 0..255."""
        values = (x.astype(np.float64) * self.std + self.mean) / self.scale
        return self._ordered(np.rint(values.clip(0, 255)).astype(np.uint8))

    def value_of(self, pixel: ArrayLike) -> Floats:
        """The (c,) float32 that a pixel of value 0..255 (one number, or one a channel in RGB order) becomes."""
        values = np.ravel(np.asarray(pixel, np.float64))
        if len(values) not in (1, self.channels):
            raise InputError(
                f"A pixel of {len(values)} values was given, expected 1 or {self.channels}.",
                "Give one value from 0 to 255, or one for each channel.",
            )
        return self._numbers(self._ordered(np.broadcast_to(values, self.channels)))

    def _numbers(self, pixels: NDArray[np.float64]) -> Floats:
        return ((pixels * self.scale - self.mean) / self.std).astype(np.float32)

    def _ordered(self, values: NDArray[Any]) -> NDArray[Any]:
        return values[..., ::-1] if self.order == "bgr" else values


def _check(pre: Preprocessing) -> None:
    rules = {
        "resize": (_is_size(pre.resize), "pixels, at least 1: one number or height and width"),
        "crop": (_is_size(pre.crop), "pixels, at least 1: one number or height and width"),
        "scale": (bool(np.isfinite(pre.scale)) and pre.scale != 0, "a finite number other than 0"),
        "channels": (pre.channels >= 1, "a whole number, at least 1"),
        "mean": (_is_per_channel(pre.mean, pre.channels), "finite numbers, one or one a channel"),
        "std": (_is_per_channel(pre.std, pre.channels) and min(pre.std) > 0, "numbers over 0, one or one a channel"),
        "order": (pre.order == "rgb" or (pre.order == "bgr" and pre.channels == 3), "rgb, or bgr with 3 channels"),
        "interpolation": (pre.interpolation in _FILTERS, ", ".join(_FILTERS)),
    }
    for key, (holds, expected) in rules.items():
        if not holds:
            raise InputError(f"The preprocessing has {key}={getattr(pre, key)!r}, expected {expected}.", _EXAMPLE)


def _is_size(size: Size) -> bool:
    sides = size if isinstance(size, tuple) else (size, size)
    return size is None or (len(sides) == 2 and all(isinstance(side, int) and side >= 1 for side in sides))


def _is_per_channel(values: tuple[float, ...], channels: int) -> bool:
    return len(values) in (1, channels) and bool(np.isfinite(values).all())


def _read(key: str, value: str) -> Any:
    try:
        return _READERS[key](value)
    except (ValueError, ZeroDivisionError) as error:
        raise InputError(f"The preprocessing has {key}={value!r}, which does not read as a value.", _EXAMPLE) from error


def _read_size(text: str) -> Size:
    sides = [int(side) for side in text.split("x")]
    return sides[0] if len(sides) == 1 else tuple(sides)  # type: ignore[return-value]  # its length is checked later


def _read_ratio(text: str) -> float:
    over, slash, under = text.partition("/")
    return float(over) / float(under) if slash else float(over)


def _read_values(text: str) -> tuple[float, ...]:
    return tuple(float(value) for value in text.split("/"))


def _write_size(size: Size) -> str:
    return "x".join(map(str, size)) if isinstance(size, tuple) else str(size)


def _write_scale(scale: float) -> str:
    return "1/255" if scale == 1 / 255 else repr(scale)


def _write_values(values: Iterable[float]) -> str:
    return "/".join(map(repr, values))


_EXAMPLE = "Write it like resize=256,crop=224,scale=1/255,mean=0.485/0.456/0.406,std=0.229/0.224/0.225,order=rgb."
_READERS: dict[str, Callable[[str], Any]] = {
    "resize": _read_size,
    "crop": _read_size,
    "scale": _read_ratio,
    "mean": _read_values,
    "std": _read_values,
    "order": str.lower,
    "channels": int,
    "interpolation": str.lower,
}
_WRITERS: dict[str, Callable[[Any], str]] = {
    "resize": _write_size,
    "crop": _write_size,
    "scale": _write_scale,
    "mean": _write_values,
    "std": _write_values,
    "order": str,
    "channels": str,
    "interpolation": str,
}


def _with_channels(picture: Picture, channels: int) -> Pixels:
    pixels = picture.pixels
    match pixels.shape[2], channels:
        case given, wanted if given == wanted:
            return pixels
        case 1, 3:
            return np.repeat(pixels, 3, axis=2)
        case 3, 1:
            return np.array(Image.fromarray(pixels).convert("L"))[..., None]
    raise InputError(
        f"{picture.name} has {pixels.shape[2]} channels, expected {channels}.",
        f"Give a picture of {channels} channels, or set channels={pixels.shape[2]} if the model takes that many.",
    )


def _resized_size(original: tuple[int, int], resize: Size, name: str) -> tuple[int, int]:
    if resize is None or isinstance(resize, tuple):
        return resize or original
    height, width = (int(resize * side / min(original)) for side in original)
    if height * width > MAX_PIXELS:
        raise InputError(
            f"{name} has {original[0]} x {original[1]} pixels, which resize={resize} makes {height} x {width}.",
            f"Give both sides, for example resize={resize}x{resize}, or cut the strip into pieces.",
        )
    return height, width


def _centre(size: tuple[int, int], crop: Size, name: str) -> tuple[int, int, int, int]:
    height, width = crop if isinstance(crop, tuple) else (crop or size[0], crop or size[1])
    if height > size[0] or width > size[1]:
        raise InputError(
            f"{name} has {size[0]} x {size[1]} pixels after resizing, expected at least the crop, {height} x {width}.",
            "Set resize to the crop's size or more, or make the crop smaller.",
        )
    return round((size[0] - height) / 2), round((size[1] - width) / 2), height, width


def _resized(pixels: Pixels, size: tuple[int, int], how: Image.Resampling) -> Pixels:
    if pixels.shape[:2] == size:
        return pixels
    wanted = (size[1], size[0])
    if pixels.shape[2] == 3:
        return np.array(Image.fromarray(pixels).resize(wanted, how))
    planes = [Image.fromarray(pixels[..., i]).resize(wanted, how) for i in range(pixels.shape[2])]
    return np.stack([np.asarray(plane) for plane in planes], axis=-1)


IMAGENET = Preprocessing(resize=256, crop=224, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))

_CAFFE = Preprocessing(scale=1.0, mean=(103.939, 116.779, 123.68), order="bgr")
_SYMMETRIC = Preprocessing(mean=(0.5,), std=(0.5,))
_RAW = Preprocessing(scale=1.0)
_KERAS = {
    **dict.fromkeys(("resnet", "resnet50", "vgg16", "vgg19"), _CAFFE),
    **dict.fromkeys(("inception_resnet_v2", "inception_v3", "mobilenet", "mobilenet_v2"), _SYMMETRIC),
    **dict.fromkeys(("nasnet", "resnet_v2", "xception"), _SYMMETRIC),
    **dict.fromkeys(("convnext", "efficientnet", "efficientnet_v2", "mobilenet_v3"), _RAW),
    "densenet": IMAGENET,
}


def keras_applications(module_name: str, size: int) -> Preprocessing:
    """The preprocessing of `keras.applications.<module_name>` on the centre square of `size` pixels.

    The aspect ratio is kept. The numbers are those of the module's `preprocess_input` (0 to 255 where the model
    rescales by itself). Raises InputError for a module that is not there.
    """
    if module_name not in _KERAS:
        raise InputError(
            f"keras.applications has no known module {module_name!r}.",
            nearest(module_name, _KERAS, "the modules " + ", ".join(_KERAS)),
        )
    return replace(_KERAS[module_name], resize=size, crop=size)
