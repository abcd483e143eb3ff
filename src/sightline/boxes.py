"""Boxes of a detector: how surely it finds a class at a box, as D-RISE scores it (Petsiuk et al. 2021).

A detector gives (n, detections, 6): corners x0, y0, x1, y1 as fractions of the input's width and height, class,
probability; rows of zeros fill up. A detection answers a box by IoU x probability of the class, and the score is that of
the best one, which each image, also a perturbed one, chooses anew. It is the probability and not the score before the
softmax that counts: the softmax stands between the class and "no object", scores of different detections before it
cannot be compared, and a negative one would be better the less its box overlaps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from sightline.arrays import Array, like, namespace, to_numpy
from sightline.errors import TargetError
from sightline.images import Geometry
from sightline.labels import index_of, label_of
from sightline.model import Target
from sightline.settled import Facts, Images, Settled

_TWICE = 0.5  # IoU from which two detections of a class are one, in ranks
_EXPLAINED = "IoU x probability of the class"


@dataclass(frozen=True)
class Box:
    """How surely a detector finds a class at a box: the highest IoU x probability among its detections.

    `box` is (x0, y0, x1, y1) in the pixels of the file as a person sees it, `target` its class; without one, that of
    the detection that fits best. Or `box` is a rank: 0 is the surest detection of the image, of that class where one is
    named, those of a class that overlap a surer one by an IoU of more than 0.5 left out.

    >>> Box((10, 20, 50, 60), "cat").target
    'cat'
    """

    box: Any
    target: int | str | None = None


@dataclass(frozen=True)
class Boxes:
    """Boxes in the images of one pass."""

    boxes: tuple[Box, ...]
    labels: tuple[str, ...]
    images: Images

    def guess(self, x: Array) -> None:
        """Which box has a rank, and which class, is told by the detections."""

    def settle(self, outputs: Array, head: str) -> Settled:
        """The box and the class in each image."""
        _check_detections(tuple(outputs.shape))
        found = to_numpy(outputs).astype(np.float64)
        each = [
            [_settled(box, rows, geometry, self.labels) for rows, geometry in zip(found, self.images.geometries)]
            for box in self.boxes
        ]
        aims = np.array([[aim for aim, _ in images] for images in each])
        return Settled(partial(_target, aims, outputs), [[facts for _, facts in images] for images in each], False)


def _target(aims: np.ndarray, outputs: Array) -> Target:
    return Target(found_at, (like(np.ascontiguousarray(np.moveaxis(aims, 0, 1)), outputs),))


def found_at(outputs: Array, aims: Array) -> Array:
    """Scores (k, n): the highest IoU x probability in `outputs` (n, detections, 6) for `aims` (n, k, 5), box and class."""
    xp = namespace(outputs)
    rows, aims = outputs[:, None, :, :], aims[:, :, None, :]
    fits = overlap(rows, aims) * rows[..., 5]
    same = rows[..., 4] == aims[..., 4]
    return xp.permute_dims(xp.max(xp.where(same, fits, xp.zeros_like(fits)), axis=-1), (1, 0))


def overlap(a: Array, b: Array) -> Array:
    """The IoU (...) of boxes (..., 4 or more), the second of which have an area."""
    xp = namespace(a)
    sides = [
        xp.minimum(a[..., i + 2], b[..., i + 2]) - xp.maximum(a[..., i], b[..., i]) for i in (0, 1)
    ]  # negative where they lie apart
    width, height = (xp.maximum(side, xp.zeros_like(side)) for side in sides)
    both = width * height
    return both / (_area(a) + _area(b) - both)


def _area(boxes: Array) -> Array:
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def _settled(asked: Box, rows: np.ndarray, geometry: Geometry, labels: Sequence[str]) -> tuple[np.ndarray, Facts]:
    """Box and class, and what they are called, among the detections (detections, 6) of one image."""
    index = None if asked.target is None else index_of(asked.target, labels)
    of_class = rows[:, 5] > 0 if index is None else (rows[:, 5] > 0) & (rows[:, 4] == index)
    rank = None if np.ndim(asked.box) else int(asked.box)
    if rank is None:
        box = _corners(asked.box, geometry)
    else:
        chosen = rows[_ranked(rows, of_class, rank)]
        box, of_class = chosen[:4], of_class & (rows[:, 4] == chosen[4])
    fits = np.where(of_class, overlap(rows, np.broadcast_to(box, (len(rows), 4))) * rows[:, 5], 0)
    best = int(fits.argmax())
    if not fits[best]:
        what = "object" if index is None else repr(label_of(index, labels))
        raise TargetError(
            f"the box {asked.box} was given; no detection of {what} overlaps it.", "Give another box or another class."
        )
    found = rows[best]
    name = label_of(int(found[4]), labels)
    facts = {
        "index": int(found[4]),
        "label": f"{name} at a box" if rank is None else f"{name}, detection {rank}",
        "box": _pixels(box, geometry),
        "detection": _pixels(found[:4], geometry),
        "iou": float(overlap(found[None], box[None])[0]),
        "probability": float(found[5]),
        "explained": _EXPLAINED,
    }
    return np.append(box, found[4]), facts


def _ranked(rows: np.ndarray, left: np.ndarray, rank: int) -> int:
    """The detection of that rank among those that are `left`, one for each object."""
    left = left & (_area(rows) > 0)
    for _ in range(rank + 1):
        if not left.any():
            raise TargetError(f"detection {rank} was given; the model finds fewer.", "Ask for one before it.")
        best = int(np.where(left, rows[:, 5], -1).argmax())
        twice = overlap(rows, np.broadcast_to(rows[best], rows.shape)) > _TWICE
        left = left & ~(twice & (rows[:, 4] == rows[best, 4]))
    return best


def _corners(box: Any, geometry: Geometry) -> np.ndarray:
    """A box in the file's pixels as fractions of the model's input, cut to it; TargetError where that leaves none."""
    given = np.asarray(box, np.float64).reshape(-1)
    if given.shape == (4,):
        origin, scale = _frame(geometry)
        corners = np.clip((given - origin) / scale, 0, 1)
        if (corners[:2] < corners[2:]).all():
            return np.asarray(corners)
    raise TargetError(
        f"the box {box} was given; expected x0, y0, x1, y1 in a picture of {geometry.original[1]} x "
        f"{geometry.original[0]} pixels, in what the model sees of it.",
        "Give the left, upper, right and lower edge in pixels, or a rank such as 0.",
    )


def _pixels(box: np.ndarray, geometry: Geometry) -> list[float]:
    origin, scale = _frame(geometry)
    return [round(float(edge), 2) for edge in box * scale + origin]


def _frame(geometry: Geometry) -> tuple[np.ndarray, np.ndarray]:
    """Where the model's input begins in the file's pixels, and its sides there: for x, y, x and y."""
    top, left, height, width = geometry.crop
    down, across = (geometry.original[i] / geometry.resized[i] for i in (0, 1))
    return np.array([left * across, top * down] * 2), np.array([width * across, height * down] * 2)


def _check_detections(shape: tuple[int, ...]) -> None:
    if len(shape) != 3 or shape[-1] != 6:
        raise TargetError(
            f"a box was given; the model's output is {shape[1:]}, no detections.",
            "Take a detector, or let yours give (n, detections, 6): x0, y0, x1, y1 as fractions, class, probability.",
        )
