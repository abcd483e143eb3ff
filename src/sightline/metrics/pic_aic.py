"""Accuracy information curve."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sightline.arrays import Array
from sightline.metric import Curves, Ties, metric
from sightline.metrics._information import Compression, information_curves
from sightline.metrics._removal import probability_of
from sightline.model import Model, Target
from sightline.scores import Highest


@metric(
    family="faithfulness",
    better="higher",
    low=0,
    high=1,
    source="Kapishnikov et al. 2019 (XRAI), arXiv:1906.02825",
)
def pic_aic(
    maps: np.ndarray,
    model: Model,
    x: Array,
    target: Target,
    probability: Target | None,
    pixels: Callable[[Array], np.ndarray],
    *,
    fill: Array = "blurred",
    compression: Compression = "webp",
    ties: Ties = "shuffled",
    random_state: int = 0,
) -> tuple[np.ndarray, Curves]:
    """Area under "is it the highest class?" over the information told, while relevant pixels of a blurred image turn sharp.

    As pic-sic, with 1 where what is explained is the highest class and 0 where not: the share of the information from
    which the class is found. NaN where `fill` takes as many bytes as the image, where it is of the class already, and where
    the image is not. The published aggregate is the area under the mean of the images' curves. Curve: "pic-aic" (n, 101).
    """
    probability_of("pic-aic", probability)
    values, curves = information_curves(
        maps, model, x, target.then(Highest()), pixels, fill, compression, ties, random_state
    )
    return values, {"pic-aic": curves}
