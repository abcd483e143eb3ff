"""A map laid over its photograph."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.errors import InputError, MethodError
from sightline.pictures.colour import Scale, colourise, position

OPACITY = 0.7  # of the colours over a photograph
UNSEEN = 96  # the grey of a map where the model saw nothing


def overlay(
    image: NDArray[np.uint8],
    heat: NDArray[Any],
    scale: Scale,
    *,
    opacity: float = OPACITY,
    seen: NDArray[np.bool_] | None = None,
) -> NDArray[np.uint8]:
    """The picture (h, w, 3) with the map's colours over it, as strong as the value is large.

    The colour's share is `opacity` (0..1) times the root of the value's distance from zero over the largest on the
    scale: zero shows the bare picture, and middling values are still seen. A value that is not finite is striped at the
    full `opacity`. Pixels outside of `seen` are drawn dim and grey. InputError: shapes that differ, a picture that is
    not uint8. MethodError: opacity out of range.
    """
    picture = as_rgb(image)
    check_same_pixels(picture, heat, seen)
    if not 0 <= opacity <= 1:
        raise MethodError(
            f"opacity={opacity} was given; expected 0 to 1.", "Leave it out, or take 0.5 for fainter colours."
        )
    share = opacity * np.sqrt(strength(heat, scale))[..., None]
    mixed = np.rint(picture * (1 - share) + colourise(heat, scale) * share).astype(np.uint8)
    return mixed if seen is None else np.where(seen[..., None], mixed, dimmed(picture))


def strength(heat: NDArray[Any], scale: Scale) -> NDArray[np.float64]:
    """The distance of each value from zero, over the largest on the scale: 0..1, and 1 where it is not finite."""
    where = position(heat, scale)
    size: NDArray[np.float64] = np.abs(2 * where - 1) if scale.signed else where
    return np.where(np.isnan(size), 1.0, size)


def dimmed(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture without colour, dark and low in contrast: what the model did not see."""
    grey = picture @ np.array([0.299, 0.587, 0.114])
    return np.repeat((40 + 0.3 * grey).astype(np.uint8)[..., None], 3, axis=2)


def heat_picture(heat: NDArray[Any], scale: Scale, seen: NDArray[np.bool_] | None) -> NDArray[np.uint8]:
    """The colours of the map alone, flat grey outside of `seen`."""
    colours = colourise(heat, scale)
    return colours if seen is None else np.where(seen[..., None], colours, np.uint8(UNSEEN))


def smooth(heat: NDArray[Any], sigma: float) -> NDArray[Any]:
    """The map (h, w) blurred by a Gaussian of `sigma` pixels, mirrored at the border; 0 leaves it as it is.

    A value that is not finite spreads to 4 sigma around it. MethodError: `sigma` below zero or not finite.
    """
    if not (np.isfinite(sigma) and sigma >= 0):
        raise MethodError(
            f"smooth={sigma} was given; expected pixels, 0 or more.", "Try 2 for a picture of 224 pixels."
        )
    from skimage.filters import gaussian

    blurred: NDArray[Any] = gaussian(heat, sigma, mode="reflect", preserve_range=True)
    return blurred


def as_rgb(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture of uint8, (h, w), (h, w, 1) or (h, w, 3), as (h, w, 3); InputError for anything else."""
    good = image.dtype == np.uint8 and (image.ndim == 2 or (image.ndim == 3 and image.shape[2] in (1, 3)))
    if not good or not image.size:
        raise InputError(
            f"A picture of shape {image.shape} and type {image.dtype} was given; expected (h, w, 3) or (h, w), uint8.",
            "Scale the values to 0..255, put the channels last and convert with .astype('uint8').",
        )
    return np.broadcast_to(image.reshape(*image.shape[:2], -1), (*image.shape[:2], 3))


def visible(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pixels (h, w, c) as a person can see them: the mean of the channels, unless there are one or three."""
    return image if image.shape[-1] in (1, 3) else np.rint(image.mean(axis=-1, keepdims=True)).astype(np.uint8)


def check_same_pixels(picture: NDArray[np.uint8], heat: NDArray[Any], seen: NDArray[np.bool_] | None) -> None:
    """InputError unless the map, and `seen` where given, have one value for each pixel of the picture."""
    for name, array in (("map", heat), ("mask `seen`", seen)):
        if array is not None and array.shape != picture.shape[:2]:
            raise InputError(
                f"A {name} of shape {array.shape} was given for a picture of {picture.shape[:2]}; expected the same.",
                "Put the map on the pixels of the picture first, for example with `on_original`.",
            )
    if seen is not None and seen.dtype != np.bool_:
        raise InputError(
            f"A mask `seen` of type {seen.dtype} was given; expected true and false.", "Convert it with .astype(bool)."
        )
