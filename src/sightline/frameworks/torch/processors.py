"""What Hugging Face's image processors do to a picture, as a declared preprocessing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from sightline.images import read
from sightline.preprocessing import Preprocessing

_RESAMPLING = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}  # Pillow's numbers
_SQUASHED = 384  # the side from which ConvNeXt's processor keeps all of a picture, and not its shape
_SLACK = 0.03  # of the spread of the numbers, in the mean: filters of several libraries differ by less
_PICTURES = (300, 431), (431, 300), (640, 427), (240, 487)  # pixels, no multiples of what a processor rounds to
_WITHIN = (300, 311), (311, 300)  # those within a limit of the longer side
_MULTIPLES = (16, 32)  # of which some make a side, by cutting off what is over


def carried(processor: Any) -> tuple[Preprocessing | None, tuple[str, ...]]:
    """What the processor of a model does to a picture, seen to be so on several, and notes on what is not kept of it;
    None where it is no resize, crop, scale and normalisation.
    """
    kind = type(processor).__name__
    try:
        config = processor.to_dict()
        pre, longest = hf_preprocessing(config), (config.get("size") or {}).get("longest_edge")
        sizes = _PICTURES if longest is None else _WITHIN
        found = [] if pre is None else [_compared(processor, pre, *size) for size in sizes]
    except Exception:  # a processor of a kind of its own
        found = []
    if not found or None in found:
        return None, (f"{kind} does more to a picture than resize, crop, scale and normalise it, or does it otherwise",)
    limit = f"the processor's limit of {longest} pixels for the longer side is not kept"
    rounds = f"{kind} rounds sizes to a multiple, which is not kept"
    return pre, (limit,) * (longest is not None) + (rounds,) * (False in found)


def hf_preprocessing(config: Mapping[str, Any]) -> Preprocessing | None:
    """What an image processor of that configuration says that it does to a picture; None where it resizes none."""
    if not config.get("do_resize") or not config.get("size"):
        return None
    resize, crop = _sizes(config)
    scale = config.get("rescale_factor", 1 / 255) if config.get("do_rescale", True) else 1.0
    number = config.get("resample")
    how: Any = _RESAMPLING.get(2 if number is None else int(number), "bilinear")
    order: Any = "bgr" if config.get("do_flip_channel_order") else "rgb"
    return Preprocessing(resize, crop, scale=scale, interpolation=how, order=order, **_normal(config))


def _sizes(config: Mapping[str, Any]) -> tuple[Any, tuple[int, int] | None]:
    """To what a picture is resized, and to what it is cropped; each kind has a rule of its own for the margin."""
    size, cropped = config["size"], config.get("crop_size") or {}
    part: Any = config.get("crop_pct")
    resize: Any = size.get("shortest_edge") or (size["height"], size["width"])
    crop = (cropped["height"], cropped["width"]) if config.get("do_center_crop") else None
    kind, side = str(config.get("image_processor_type")), resize if isinstance(resize, int) else resize[0]
    if kind.startswith("ConvNext"):
        return ((side, side), None) if side >= _SQUASHED else (int(side / part), (side, side))
    if kind.startswith("Levit"):
        return int(256 / 224 * side), crop
    return (int(side / part), crop) if part else (resize, crop)


def _normal(config: Mapping[str, Any]) -> dict[str, Any]:
    """Mean and deviation; those of EfficientNet move by one first, and are divided by once more before a classifier."""
    moved = 1.0 if config.get("rescale_offset") else 0.0
    if not config.get("do_normalize"):
        return {"mean": (moved,)} if moved else {}
    powers = 2 if config.get("include_top") else 1
    mean = tuple(value + moved for value in config["image_mean"])
    return {"mean": mean, "std": tuple(value**powers for value in config["image_std"])}


def _compared(processor: Any, pre: Preprocessing, height: int, width: int) -> bool | None:
    """Whether a processor and a preprocessing make the same of a picture of that size; None where they do not, False where
    the processor's is cut to a multiple of something.
    """
    rows, columns = np.mgrid[0:height, 0:width]
    waves = [np.sin(rows / 40) + columns / width, np.cos(columns / 50), np.sin((rows + 2 * columns) / 60)]
    picture = np.rint(np.stack([127 + 60 * wave for wave in waves], axis=-1)).astype(np.uint8)
    theirs = processor(Image.fromarray(picture), return_tensors="np")["pixel_values"][0]
    ours = np.moveaxis(pre.apply(read(picture))[0], -1, 0)
    if theirs.shape == ours.shape:
        return _are_alike(theirs, ours) or None
    cut = (tuple(side // n * n for side in ours.shape[1:]) for n in _MULTIPLES)
    return False if theirs.shape[:1] == ours.shape[:1] and theirs.shape[1:] in cut else None


def _are_alike(theirs: np.ndarray, ours: np.ndarray) -> bool:
    """Whether two pictures are equal but for the filter, and for a row or column, since some round the crop's place down."""
    shifts = [(down, right) for down in (0, 1) for right in (0, 1)]
    height, width = (side - 1 for side in ours.shape[1:])
    moved = (theirs[:, down : down + height, right : right + width] for down, right in shifts)
    return any(np.abs(each - ours[:, :height, :width]).mean() < _SLACK * theirs.std() for each in moved)
