"""Masks of what matters in pictures, as a user gives them, brought to the pixels of the model's input."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from sightline.arrays import to_numpy
from sightline.errors import InputError
from sightline.images import Geometry, read


def masks_for(masks: Any, geometries: Sequence[Geometry]) -> np.ndarray:
    """Masks (n, h, w) bool at the size of the model's input, one for each image.

    Each is a file, or an array (height, width) of the input or of the picture as a person sees it; true where a value is
    above half of its largest. Raises InputError for another size or number.
    """
    given = [masks] if isinstance(masks, str | os.PathLike) else list(masks)
    if len(given) != len(geometries):
        raise InputError(
            f"{len(given)} masks were given for {len(geometries)} images; expected one for each.",
            "Give them in the order of the images.",
        )
    return np.stack([_fitted(_values(mask), geometry) for mask, geometry in zip(given, geometries)])


def _values(mask: Any) -> np.ndarray:
    values = to_numpy(mask) if hasattr(mask, "shape") else read(mask).pixels
    values = values.max(axis=-1) if values.ndim == 3 else values
    return np.asarray(values > values.max() / 2 if values.dtype != bool else values)


def _fitted(mask: np.ndarray, geometry: Geometry) -> np.ndarray:
    top, left, height, width = geometry.crop
    if mask.shape == (height, width):
        return mask
    if mask.shape != tuple(geometry.original):
        raise InputError(
            f"a mask of {mask.shape} was given for a picture of {tuple(geometry.original)}, which the model takes as "
            f"{(height, width)}.",
            "Give it in the size of either.",
        )
    rows, columns = geometry.resized
    resized = Image.fromarray(mask).resize((columns, rows), Image.Resampling.NEAREST)
    return np.asarray(resized)[top : top + height, left : left + width]
