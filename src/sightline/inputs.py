"""What a user gives as images, made the model's input; and the pictures to show for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from sightline.arrays import Array, native, to_numpy
from sightline.errors import InputError
from sightline.images import MAX_PIXELS, Geometry, LaterPicture, Picture, read, whole
from sightline.model import Model
from sightline.preprocessing import Preprocessing


@dataclass(frozen=True, eq=False)
class Given:
    """Images ready for a model: `x` its input, and for each the picture that a person sees and where `x` lies on it."""

    x: Array
    pictures: tuple[Picture, ...]
    geometries: tuple[Geometry, ...]
    preprocessed: bool  # by sightline; False where the user gave the model's input itself


def is_input(images: Any) -> bool:
    """Whether `images` is the model's input itself: an array of fractions, or a framework's own tensor."""
    if isinstance(images, np.ndarray):
        return bool(images.dtype.kind == "f")
    return hasattr(images, "shape") and hasattr(images, "dtype") and "uint8" not in str(images.dtype)


def take(images: Any, model: Model, preprocessing: Preprocessing | None, max_pixels: int = MAX_PIXELS) -> Given:
    """Files, PIL pictures and uint8 arrays, preprocessed; or float arrays and tensors with a batch axis as they are.

    Raises InputError for what cannot be read, for NaN or infinite values, and for pictures that come out in different
    sizes.
    """
    if is_input(images):
        return _tensor(images, model, preprocessing)
    assert preprocessing is not None
    pictures = _numbered([read(image, max_pixels=max_pixels) for image in _each(images)])
    if not pictures:
        raise InputError("an empty list of images was given.", "Give at least one image.")
    arrays, geometries = zip(*(preprocessing.apply(picture) for picture in pictures))
    sizes = {a.shape for a in arrays}
    if len(sizes) > 1:
        raise InputError(
            f"pictures were given that come out in {len(sizes)} sizes: {', '.join(str(s[:2]) for s in sorted(sizes))}.",
            "Preprocess with a crop, for example preprocess='resize=256,crop=224', or explain them one by one.",
        )
    x = model.array(np.ascontiguousarray(np.moveaxis(np.stack(arrays), -1, model.channel)))
    return Given(x, pictures, geometries, True)


def _each(images: Any) -> Sequence[Any]:
    """A list of pictures out of one or many, a framework's own arrays made NumPy's."""
    if isinstance(images, list | tuple):
        return [_on_host(image) for image in images]
    images = _on_host(images)
    return list(images) if isinstance(images, np.ndarray) and images.ndim == 4 else [images]


def _on_host(image: Any) -> Any:
    tensor = hasattr(image, "shape") and hasattr(image, "dtype") and not isinstance(image, np.ndarray)
    return to_numpy(image) if tensor else image


def _numbered(pictures: Sequence[Picture]) -> tuple[Picture, ...]:
    """Several pictures that came without a name of their own are told apart by their number."""
    if len(pictures) == 1:
        return tuple(pictures)
    unnamed = ("array", "image")
    return tuple(replace(p, name=f"{p.name} {i}") if p.name in unnamed else p for i, p in enumerate(pictures))


def _tensor(images: Any, model: Model, preprocessing: Preprocessing | None) -> Given:
    values = to_numpy(images)
    if values.ndim != 4 or not values.size:
        raise InputError(
            f"an array of shape {values.shape} with fractions was given; expected a batch of four axes with images in it.",
            "Add the batch axis (image[None]), or give a picture as a file, PIL image or uint8 array.",
        )
    if not np.isfinite(values).all():
        raise InputError(
            f"an array with {int((~np.isfinite(values)).sum())} values that are NaN or infinite was given.",
            "Find out where they come from: no map of such an image means anything.",
        )
    kept = np.moveaxis(values.copy(), model.channel, -1)  # the user may change theirs before a picture is drawn
    pictures = tuple(LaterPicture(partial(_shown, image, preprocessing), f"array {i}") for i, image in enumerate(kept))
    x = model.array(native(images) if isinstance(images, np.ndarray) else images)
    return Given(x, pictures, whole(values, model.channel), False)


def _shown(image: np.ndarray, preprocessing: Preprocessing | None) -> np.ndarray:
    """Pixels to look at: by the declared preprocessing, else the image's own range stretched to black and white."""
    if preprocessing is not None and preprocessing.channels == image.shape[-1]:
        return preprocessing.undo(image)
    low, high = float(image.min()), float(image.max())
    levels = (image - low) * (255 / max(high - low, 1e-12))
    return np.rint(levels, out=levels).astype(np.uint8)
