"""Superpixel ablation."""

from __future__ import annotations

import numpy as np

from sightline.arrays import Array, like, to_numpy
from sightline.hiding import scores, size_of
from sightline.method import Count, method
from sightline.methods._coalitions import painted
from sightline.methods._superpixels import Segmentation, sizes, superpixels
from sightline.model import Model, Target


@method(
    family="perturbation",
    cost="1 F + 1 F a superpixel",
    source="Zeiler and Fergus 2014, section 4.2, arXiv:1311.2901, with the superpixels of Achanta et al. 2012",
)
def superpixel_ablation(
    model: Model,
    x: Array,
    target: Target,
    *,
    baseline: Array = "mean",
    segmentation: Segmentation = "slic",
    segments: Count = 50,
) -> Array:
    """How much the score falls when one superpixel is hidden behind the baseline.

    Shape (k, n, height, width), signed, in units of score; every pixel of a superpixel has the same value. `segments`
    is about how many superpixels SLIC makes, or at most how many "felzenszwalb" does, in each image by itself. It
    cannot see evidence that two superpixels hold alike: hiding either alone changes nothing.
    """
    size_of(model, x)
    labels = superpixels(x, model.channel, segmentation, segments)
    count = max(sizes(labels))  # an image with fewer gives itself for the rest
    whole = to_numpy(model.run(x, target=target).score).astype(np.float64)
    left = scores(
        model, x, target, baseline, range(count), lambda some: labels != np.asarray(some)[:, None, None, None]
    )
    return like(painted(list(np.moveaxis(whole[:, None] - left, 2, 0)), labels), x)
