"""Softmax information curve."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sightline.arrays import Array
from sightline.metric import Curves, Ties, metric
from sightline.metrics._information import Compression, information_curves
from sightline.metrics._removal import probability_of
from sightline.model import Model, Target


@metric(
    family="faithfulness",
    better="higher",
    low=0,
    high=1,
    source="Kapishnikov et al. 2019 (XRAI), arXiv:1906.02825",
)
def pic_sic(
    maps: np.ndarray,
    model: Model,
    x: Array,
    probability: Target | None,
    pixels: Callable[[Array], np.ndarray],
    *,
    fill: Array = "blurred",
    compression: Compression = "webp",
    ties: Ties = "shuffled",
    random_state: int = 0,
) -> tuple[np.ndarray, Curves]:
    """Area under the probability over the information told, while relevant pixels of a blurred image turn sharp.

    The most relevant pixels come first. Information is the size of the picture, compressed without loss, from 0 for
    `fill` alone to 1 for the whole image, and so is the probability; the curve is the highest so far. The pixels turn
    sharp at PAIR's thirteen shares. NaN where `fill` takes as many bytes as the image or is as probable. The published
    aggregate is the area under the median of the images' curves; its blur fills in between a random hundredth of the
    pixels, and images that are less than 0.8 probable are left out: not so here. A compressor's bytes are a rough
    measure. Curve: "pic-sic" (n, 101).
    """
    asked = probability_of("pic-sic", probability)
    values, curves = information_curves(maps, model, x, asked, pixels, fill, compression, ties, random_state)
    return values, {"pic-sic": curves}
