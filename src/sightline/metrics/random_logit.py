"""Random logit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sightline.alike import Similarity, alike
from sightline.arrays import Array
from sightline.metric import metric
from sightline.model import Target


@metric(
    family="randomisation",
    better="lower",
    low=-1,
    high=1,
    source="Sixt et al. 2020, arXiv:1912.09818",
)
def random_logit(
    maps: np.ndarray,
    x: Array,
    again: Callable[..., np.ndarray],
    another: Callable[[int], Target],
    *,
    similarity: Similarity = "ssim",
    random_state: int = 0,
) -> np.ndarray:
    """How alike the map is to that of another class, drawn at random: a map that explains the class is not.

    The other class is the explained one's index and a step that is drawn once for all images, so that it does not hang
    on the batch. MethodError where no single class is explained. Two classes that share their evidence have maps that are
    rightly alike: compare methods, and do not read one number alone.
    """
    return alike(similarity, maps, again(x, target=another(random_state)))
