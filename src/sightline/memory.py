"""How many images go into a pass: as many as are quick, no more than fit into memory."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

from sightline.arrays import Array
from sightline.errors import MethodError
from sightline.machine import free_memory
from sightline.model import Layer, Model

_WORDS = ("out of memory", "can't allocate memory", "OOM when allocating", "RESOURCE_EXHAUSTED", "ALLOC_FAILED")
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
_SMALL = 3 * 512 * 512  # values of an image of which a usual number fits: nothing need be estimated
_USUAL = 32  # images in a pass
_HALF = 0.5  # of what is free
SHARES = 16  # at most so many values of a layer stand for one image in a tail's pass


def out_of_memory(error: Exception) -> bool:
    """Whether a framework says that there is no memory left."""
    return isinstance(error, MemoryError) or any(words in str(error) for words in _WORDS)


def as_bytes(given: str | int | None) -> int | None:
    """A number of bytes out of "2GB", "500 MiB" or a number; MethodError for anything else.

    >>> as_bytes("2GB"), as_bytes("0.5 MiB"), as_bytes(None)
    (2000000000, 524288, None)
    """
    if given is None:
        return None
    parts = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*([kmgt]i?)?b?\s*", str(given).lower())
    if parts is None or float(parts[1]) == 0:
        raise MethodError(f"memory={given!r} was given; expected a number of bytes.", "Write it like 2GB or 500MB.")
    return int(float(parts[1]) * _UNITS[parts[2] or ""])


def fitted(model: Model, x: Array, limit: int | None) -> tuple[Model, float]:
    """The model with passes of so many images that what its layers give, and their gradients, stay within `limit` bytes;
    and how much of one image's pass a tail's may hold, which is less than all where one image is too much already.

    Without a limit it is half of what is free, asked for large images only. One image is the least.
    """
    if not has_chunk(model) or (limit is None and max(1.0, model.chunk / _USUAL) * math.prod(x.shape[1:]) <= _SMALL):
        return model, 1.0
    free = limit or _HALF * _free(model)
    size = getattr(x.dtype, "itemsize", None) or x.dtype.size  # TensorFlow's own name for it
    one = 2 * size * sum(math.prod(layer.shape) for layer in innermost(model.places(x)))
    return _with_chunk(model, max(1, int(min(model.chunk, free / one)))), min(1.0, free / one)


def halved(model: Model, share: float) -> tuple[Model, float] | None:
    """The model with half as many images in a pass; at one image, half the share of it that a tail's pass may hold.

    None where neither can be less.
    """
    if not has_chunk(model):
        return None
    if model.chunk > 1:
        return _with_chunk(model, model.chunk // 2), share
    return (model, share / 2) if share * SHARES >= 2 else None


def lasted(model: Model, share: float) -> str:
    """A note on passes that had to be made smaller."""
    tails = f", and {share:.2g} of that from a layer on" if model.chunk == 1 and share < 1 else ""
    return f"memory did not last for more than {model.chunk} images in a pass{tails}"


def has_chunk(model: Model) -> bool:
    """Whether the model's passes can be made smaller: an adapter of the user's own may not care."""
    return is_dataclass(model) and any(own.name == "chunk" for own in fields(model))


def _with_chunk(model: Any, chunk: int) -> Model:
    smaller: Model = replace(model, chunk=chunk)
    return smaller


def innermost(layers: Sequence[Layer]) -> list[Layer]:
    """The layers that have no others inside: what holds others gives what the last of them gave."""
    outer = {name.rpartition(mark)[0] for layer in layers for mark in "./" if mark in (name := layer.name)}
    return [layer for layer in layers if layer.name not in outer]


def _free(model: Model) -> float:
    """Bytes that are free on the model's device."""
    told = getattr(model, "free", None)
    return free_memory() if told is None else told
