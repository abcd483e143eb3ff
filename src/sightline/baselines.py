"""Baselines: what an image looks like when its evidence is gone, given by name in the picture's own units."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from sightline.arrays import Array, like, to_numpy
from sightline.errors import MethodError, nearest
from sightline.images import read
from sightline.preprocessing import Preprocessing

NAMES = ("black", "white", "mean", "blurred", "blurred-11x11", "noise")
_BLUR = 10 / 224  # of the shorter side (Fong and Vedaldi 2017, section 4: 10 pixels of 224)


def baseline_for(spec: Any, x: Array, channel: int, preprocessing: Preprocessing | None, random_state: int) -> Array:
    """The baseline of the images `x`, of their shape, as the framework's own array.

    `spec` is "black" or "white" (pixel 0 or 255), "mean" (each image's own mean colour), "blurred", "blurred-11x11" (as
    RISE's insertion: a kernel of 11 pixels, zeros beyond the edge), "noise" (uniform pixels), a number in the model's
    input units, an array that broadcasts to `x`, or another picture (a file, a PIL image, a uint8 array). Without a known
    preprocessing, black, white and noise lie at the ends of each image's own values. Raises MethodError for an unknown
    name or a shape that does not fit, and InputError for a picture that cannot be read.
    """
    images = np.moveaxis(to_numpy(x), channel, -1)
    if isinstance(spec, str) and spec in NAMES:
        values = _named(spec, images, preprocessing, random_state)
    elif (number := _number(spec)) is not None:
        values = np.full(images.shape, number)
    elif _is_array(spec):
        return like(_fitted(to_numpy(spec), tuple(x.shape)), x)
    else:
        values = _fitted(_picture(spec, preprocessing), images.shape)
    return like(np.ascontiguousarray(np.moveaxis(values, -1, channel)).astype(images.dtype), x)


def specs_of(spec: Any, images: bool = False) -> list[Any]:
    """Each of several baselines: those of a list, or of names with "+" between them; one alone in a list.

    Where they are `images` of their own, as a background's are, each image of an array of four axes is one.
    """
    if isinstance(spec, list | tuple):
        found = [each for one in spec for each in specs_of(one, images)]
        if not found:
            raise MethodError("an empty list of baselines was given.", f"Give at least one, such as {NAMES[0]!r}.")
        return found
    if isinstance(spec, str) and "+" in spec[1:] and _number(spec) is None and not Path(spec).exists():
        return [name.strip() for name in spec.split("+")]
    return list(spec) if images and getattr(spec, "ndim", 0) == 4 else [spec]


def _number(spec: Any) -> float | None:
    """A number, also one written as text, as on a command line; None for what is none."""
    try:
        number = float(spec) if isinstance(spec, str | int | float | np.number) else None
    except ValueError:
        return None
    if number is not None and not np.isfinite(number):
        raise MethodError(f"baseline {spec!r} was given; expected a finite number.", "Give one such as 0 or 0.5.")
    return number


def _is_array(spec: Any) -> bool:
    """An array of fractions, or a framework's own tensor: values of the model's input, no pixels."""
    return hasattr(spec, "shape") and hasattr(spec, "dtype") and "int" not in str(spec.dtype)


def _fitted(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    try:
        fitted = np.broadcast_to(values, shape).copy()
    except ValueError:
        raise MethodError(
            f"a baseline of shape {values.shape} was given for images of shape {shape}.",
            "Give one of the images' own shape, or that broadcasts to it.",
        ) from None
    if not np.isfinite(fitted).all():
        raise MethodError("a baseline with values that are NaN or infinite was given.", "Give finite values.")
    return fitted


def _named(name: str, images: np.ndarray, preprocessing: Preprocessing | None, random_state: int) -> np.ndarray:
    space = tuple(range(1, images.ndim - 1))
    if name == "mean":
        return np.broadcast_to(images.mean(axis=space, keepdims=True), images.shape)
    if name == "blurred":
        from skimage.filters import gaussian

        sigma = _BLUR * min(images.shape[1:-1])
        return np.stack([gaussian(image, sigma, mode="nearest", channel_axis=-1) for image in images])
    if name == "blurred-11x11":
        return _blurred_by_kernel(images)
    low, high = (_pixel(v, images, preprocessing) for v in (0, 255))
    if name == "noise":
        share = np.random.default_rng(random_state).uniform(size=images.shape[1:])
        return np.broadcast_to(low + (high - low) * share, images.shape)
    return np.broadcast_to(low if name == "black" else high, images.shape)


def _blurred_by_kernel(images: np.ndarray) -> np.ndarray:
    """RISE's: its code makes the kernel by blurring a point, sigma 5, with what leaves the 11 pixels mirrored back."""
    from scipy.ndimage import correlate1d, gaussian_filter1d

    kernel = gaussian_filter1d(np.eye(11)[5], 5)
    rows = correlate1d(images.astype(np.float64), kernel, axis=1, mode="constant")
    return np.asarray(correlate1d(rows, kernel, axis=2, mode="constant"))


def _pixel(value: int, images: np.ndarray, preprocessing: Preprocessing | None) -> np.ndarray:
    if preprocessing is not None:
        return np.asarray(preprocessing.value_of(value))
    everything = tuple(range(1, images.ndim))
    return np.asarray((images.min if value == 0 else images.max)(axis=everything, keepdims=True))


def _picture(spec: Any, preprocessing: Preprocessing | None) -> np.ndarray:
    if preprocessing is None:
        raise MethodError(
            f"baseline {spec!r} was given; without preprocessing only {', '.join(NAMES)}, numbers and arrays are known.",
            nearest(str(spec), NAMES, "the list before, or declare the preprocessing"),
        )
    if isinstance(spec, str) and not Path(spec).exists():
        raise MethodError(
            f"baseline {spec!r} was given; expected {', '.join(NAMES)}, a number, an array or a picture.",
            nearest(spec, NAMES, "the list before"),
        )
    return preprocessing.apply(read(to_numpy(spec) if hasattr(spec, "dtype") else spec))[0]
