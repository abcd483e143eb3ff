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
_HEIGHT, _WIDE, _WITHIN = (
    300,
    431,
    311,
)  # pixels: no multiple of what some round to; within the limit of the longer side
_ROUNDED = 32  # pixels to a multiple of which a processor rounds a side


def carried(processor: Any) -> tuple[Preprocessing | None, tuple[str, ...]]:
    """What the processor of a model does to a picture, seen to be so on a picture, and notes on what is not kept of it;
    None where it is no resize, crop, scale and normalisation.
    """
    config, kind = processor.to_dict(), type(processor).__name__
    longest = (config.get("size") or {}).get("longest_edge")
    try:
        pre = hf_preprocessing(config)
        theirs, ours = (None, None) if pre is None else _both(processor, pre, _WITHIN if longest else _WIDE)
    except Exception:  # a processor of a kind of its own
        pre = theirs = ours = None
    if pre is None or theirs is None or ours is None or not _are_near(theirs, ours):
        return None, (f"{kind} does more to a picture than resize, crop, scale and normalise it, or does it otherwise",)
    sides = " x ".join(map(str, theirs.shape[1:])), " x ".join(map(str, ours.shape[1:]))
    rounds = f"{kind} rounds its sizes ({sides[0]} for {sides[1]} pixels), which is not kept"
    limit = f"the processor's limit of {longest} pixels for the longer side is not kept"
    return pre, (limit,) * bool(longest) + (rounds,) * (theirs.shape != ours.shape)


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


def _both(processor: Any, pre: Preprocessing, width: int) -> tuple[np.ndarray, np.ndarray]:
    """What the processor makes of a picture of that width, and what the preprocessing does."""
    rows, columns = np.mgrid[0:_HEIGHT, 0:width]
    waves = [np.sin(rows / 40) + columns / width, np.cos(columns / 50), np.sin((rows + 2 * columns) / 60)]
    picture = np.rint(np.stack([127 + 60 * wave for wave in waves], axis=-1)).astype(np.uint8)
    theirs = processor(Image.fromarray(picture), return_tensors="np")["pixel_values"][0]
    return theirs, np.moveaxis(pre.apply(read(picture))[0], -1, 0)


def _are_near(theirs: np.ndarray, ours: np.ndarray) -> bool:
    """Whether two pictures are the same but for the filter, or if one is a little larger, have the same numbers in them."""
    if theirs.shape == ours.shape:
        return bool(np.abs(ours - theirs).mean() < _SLACK * theirs.std())
    if theirs.ndim != 3 or any(abs(a - b) > _ROUNDED for a, b in zip(theirs.shape, ours.shape)):
        return False
    means, spreads = (np.array([f(a, axis=(1, 2)) for a in (theirs, ours)]) for f in (np.mean, np.std))
    return bool(np.abs(np.diff(means, axis=0)).max() < _SLACK * spreads.max())
