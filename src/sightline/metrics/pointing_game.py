"""Pointing game."""

from __future__ import annotations

import numpy as np

from sightline.method import Size
from sightline.metric import metric
from sightline.metrics._places import has_object, only_where


@metric(
    family="localisation",
    better="higher",
    low=0,
    high=1,
    source="Zhang et al. 2016 (excitation backprop), section 4, arXiv:1608.00507",
)
def pointing_game(maps: np.ndarray, masks: np.ndarray, *, tolerance: Size = 15) -> np.ndarray:
    """Whether the map's highest pixel lies on the mask, or within `tolerance` pixels of it: 1 or 0.

    The distance is Euclidean, in pixels of the model's input; 15 is the paper's, for pictures of about 224 pixels a side.
    Where several pixels are the highest, the share of them that hit. NaN for an empty mask. The mean over the images is
    the accuracy; the paper's is the mean over the classes of the accuracy in each.
    """
    highest = maps == maps.max(axis=(1, 2), keepdims=True)
    hit = np.stack([_near(mask, tolerance) for mask in masks])
    with np.errstate(invalid="ignore"):
        share = (highest & hit).sum(axis=(1, 2)) / highest.sum(axis=(1, 2))
    return only_where(has_object(masks), share)


def _near(mask: np.ndarray, tolerance: float) -> np.ndarray:
    from scipy.ndimage import distance_transform_edt

    return np.asarray(distance_transform_edt(~mask) <= tolerance)
