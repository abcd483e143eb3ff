"""Intersection over union."""

from __future__ import annotations

from typing import Literal

import numpy as np

from sightline.method import Size
from sightline.metric import metric
from sightline.metrics._places import has_object, only_where


@metric(
    family="localisation",
    better="higher",
    low=0,
    high=1,
    source="Jaccard 1912, doi:10.1111/j.1469-8137.1912.tb05611.x; best threshold: Choe et al. 2020, arXiv:2001.07437",
)
def iou(
    maps: np.ndarray, masks: np.ndarray, *, threshold: Literal["share", "best"] = "share", share: Size = 0.5
) -> np.ndarray:
    """Pixels that are both in the mask and high in the map, over those that are either.

    High is a value of at least `share` of the map's largest; with threshold="best", at least that value which is best for
    the image, which flatters every map alike and makes them comparable. NaN for an empty mask, and with "share" for a
    map without positive values.
    """
    if threshold == "best":
        return only_where(has_object(masks), np.array([_best(m.ravel(), mask.ravel()) for m, mask in zip(maps, masks)]))
    highest = maps.max(axis=(1, 2))
    high = maps >= share * highest[:, None, None]
    both, either = ((high & masks).sum(axis=(1, 2)), (high | masks).sum(axis=(1, 2)))
    return only_where(has_object(masks) & (highest > 0), both / np.maximum(either, 1))


def _best(values: np.ndarray, inside: np.ndarray) -> float:
    """The largest of all thresholds: pixels of one value come in together."""
    order = np.argsort(-values, kind="stable")
    both, taken = np.cumsum(inside[order]), np.arange(1, values.size + 1)
    whole = np.append(np.diff(values[order]) != 0, True)
    return float((both / (taken + max(inside.sum(), 1) - both))[whole].max())
