"""Regions of a segmentation: the scores of a class, summed over a mask or over where the model says that class."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from sightline.arrays import Array, to_numpy
from sightline.errors import TargetError
from sightline.images import Geometry, read
from sightline.labels import check_count, check_index, index_of, label_of
from sightline.scores import as_target
from sightline.settled import Facts, Images, Settled

_FEW = 5  # of the classes that a model says, so many are told


@dataclass(frozen=True, eq=False)
class Region:
    """The scores of one class of a segmentation, summed over a region.

    Without a `mask`, over the cells of the output where the model itself says that class. A mask is (height, width) or
    one for each image (n, height, width), true in the region; or a picture, whose region is all that is not black. It
    has the size of the file's own pixels, of the model's input or of its output, looked for in that order; each cell of
    the output counts by the share of its area that lies in the region.

    >>> Region("road", [[False, True], [False, True]]).target
    'road'
    """

    target: int | str
    mask: Any = None


@dataclass(frozen=True)
class Regions:
    """Regions of the images of one pass."""

    regions: tuple[Region, ...]
    labels: tuple[str, ...]
    channel: int  # of the images: where the outputs' shape leaves it open, the classes are there too
    images: Images

    def guess(self, x: Array) -> None:
        """Where the classes are is told by the outputs."""

    def settle(self, outputs: Array, head: str) -> Settled:
        """Weights of the outputs' own shape."""
        each = [self._settled(region, outputs) for region in self.regions]
        weights = np.stack([weights for weights, _ in each])
        return Settled(partial(as_target, weights, outputs), [facts for _, facts in each], False)

    def _settled(self, region: Region, outputs: Array) -> tuple[np.ndarray, list[Facts]]:
        mask, shape = mask_of(region.mask), tuple(outputs.shape)
        axis = _axis_of_classes(shape, mask, self.channel)
        check_count(self.labels, shape[axis])
        index = check_index(index_of(region.target, self.labels), shape[axis])
        name = label_of(index, self.labels)
        scores = np.moveaxis(to_numpy(outputs), axis, -1)
        cells = _said(scores, index) if mask is None else self._cells(mask, scores.shape[1:3])
        _check_there(cells, name, None if mask is not None else _highest(scores, self.labels))
        weights = np.zeros(shape, np.float32)
        np.moveaxis(weights, axis, -1)[..., index] = cells
        return weights, [_facts(index, name, each, mask is None) for each in cells]

    def _cells(self, mask: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
        geometries = self.images.geometries
        each = [mask] * len(geometries) if mask.ndim == 2 else mask[self.images.rows]
        if len(each) != len(geometries):
            raise TargetError(f"{len(mask)} masks were given for other images.", "Give one, or one for each image.")
        return np.stack([_on_grid(one, grid, geometry) for one, geometry in zip(each, geometries)])


def mask_of(given: Any) -> np.ndarray | None:
    """A mask (h, w) or (n, h, w) of truth values; InputError for a file that is no picture, TargetError for no mask."""
    if given is None:
        return None
    if isinstance(given, str | os.PathLike) or hasattr(given, "getbands"):
        return np.asarray(read(given).pixels.any(axis=-1))
    mask = to_numpy(given).astype(bool)
    if mask.ndim not in (2, 3):
        raise TargetError(f"a mask of shape {mask.shape} was given.", "Give one of a height and a width.")
    return mask


def _axis_of_classes(shape: tuple[int, ...], mask: np.ndarray | None, own: int) -> int:
    """Where the classes are: as in the model's images, unless the mask has the size of the other grid alone."""
    size = "" if mask is None else f" of {mask.shape}"
    if len(shape) != 4:
        raise TargetError(
            f"a region{size} was given; the model's output is {shape[1:]}.",
            "Take a model that gives a score for each place, or another target.",
        )
    grids = {1: shape[2:], -1: shape[1:3]}
    first = -1 if own == -1 else 1
    at_hand = mask is not None and mask.shape[-2:] == grids[-first] != grids[first]
    return -first if at_hand else first


def _said(scores: np.ndarray, index: int) -> np.ndarray:
    """Cells (n, h, w) where the class of that index is the highest of (n, h, w, classes); of a single one, over 0."""
    said = scores[..., 0] > 0 if scores.shape[-1] == 1 else scores.argmax(axis=-1) == index
    return said.astype(np.float32)


def _on_grid(mask: np.ndarray, grid: tuple[int, int], geometry: Geometry) -> np.ndarray:
    """The share of each cell of the output that a mask covers."""
    size = geometry.crop[2:]
    if mask.shape == geometry.original:
        return geometry.cells(mask, grid)
    if mask.shape == size:
        return Geometry(size, size, (0, 0, *size)).cells(mask, grid)
    if mask.shape == grid:
        return mask.astype(np.float32)
    raise TargetError(
        f"a region of {mask.shape} was given; the model's output is {grid}.",
        f"Give a mask of the picture's height and width {geometry.original}, the input's {size} or the output's.",
    )


def _check_there(cells: np.ndarray, name: str, said: list[str] | None) -> None:
    """TargetError where an image has no cell; `said` the classes that the model says, where it was asked."""
    if cells.any(axis=(1, 2)).all():
        return
    where = (
        "the mask covers nothing of what the model sees" if said is None else "there is an image where it is nowhere"
    )
    fix = "Give another mask." if said is None else f"Give a mask, or a class that the model says: {', '.join(said)}."
    raise TargetError(f"a region of {name!r} was given; {where}.", fix)


def _highest(scores: np.ndarray, labels: Sequence[str]) -> list[str]:
    """The names of the classes that cells of (n, h, w, classes) say, the most frequent first."""
    indices, counts = np.unique(scores.argmax(axis=-1), return_counts=True)
    return [label_of(int(i), labels) for i in indices[np.argsort(-counts)][:_FEW]]


def _facts(index: int, name: str, cells: np.ndarray, own: bool) -> Facts:
    count = f"{cells.sum():.6g}"
    label = f"{name} where the model says so ({count} cells)" if own else f"{name} in a region of {count} cells"
    return {"index": index, "label": label, "cells": float(cells.sum()), "region": "model" if own else "mask"}
