"""Similarity: the cosine between the model's output, or the value at a layer, and a vector."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from sightline.arrays import Array, at_least_float32, beside, namespace
from sightline.errors import TargetError
from sightline.model import Place, Target
from sightline.settled import Facts, Settled

_LEAST = 1e-30  # below this a squared length counts as this: a vector of zeros is like nothing


@dataclass(frozen=True, eq=False)
class Similar:
    """How like the model's output is to that for another picture, to a vector, or to a text: their cosine, -1 to 1.

    `to` is a picture, preprocessed as the images are, or a vector (d,) of fractions; `text` is for a model of image and
    text that came from a spec. At a `place`, a layer's name, the layer's value is compared instead, all of it as one
    vector.

    >>> Similar(text="a cat").text
    'a cat'
    """

    to: Any = None
    text: str | None = None
    place: Place | None = None


@dataclass(frozen=True, eq=False)
class Similarity:
    """One vector to compare with, and what it is called."""

    vector: np.ndarray
    name: str
    place: Place | None = None

    def guess(self, x: Array) -> Target:
        """The cosine, for which nothing need be known."""
        vector = self.vector.astype(np.float64)
        unit = vector / math.sqrt(max(float((vector**2).sum()), _LEAST))
        wide = "64" in str(x.dtype)  # in half precision the values are widened, and so is what they meet
        each = np.repeat(unit[None, None], int(x.shape[0]), axis=0).astype(np.float64 if wide else np.float32)
        return Target(cosine, (beside(each, x),), self.place)

    def settle(self, outputs: Array, head: str) -> Settled:
        """The cosine."""
        what = "the model's output" if self.place is None else f"the value at {self.place!r}"
        facts: Facts = {
            "index": None,
            "label": f"similar to {self.name}",
            "place": self.place,
            "explained": f"cosine similarity of {what}",
        }
        return Settled(lambda: self.guess(outputs), [[facts] * int(outputs.shape[0])], True)


def cosine(values: Array, units: Array) -> Array:
    """Scores (k, n): the cosine of each of `values` (n, ...), taken as one vector, with unit vectors (n, k, d)."""
    size = math.prod(values.shape[1:])
    if size != units.shape[-1]:
        raise TargetError(
            f"a vector of {units.shape[-1]} numbers was given to compare with; the model's has {size}.",
            "Give one of the same length, made by the same model from a picture of the same size.",
        )
    xp = namespace(values)
    flat = xp.reshape(at_least_float32(values), (-1, 1, size))
    squares = xp.sum(flat * flat, axis=-1)
    length = xp.sqrt(xp.where(squares > _LEAST, squares, xp.ones_like(squares)))
    return xp.permute_dims(xp.sum(flat * xp.astype(units, flat.dtype), axis=-1) / length, (1, 0))
