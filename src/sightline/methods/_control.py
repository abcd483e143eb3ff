"""What the control methods share: a map that the model has no part in, for every target."""

from __future__ import annotations

import numpy as np

from sightline.arrays import Array, like, namespace
from sightline.model import Model, Target


def for_every_target(maps: np.ndarray, model: Model, x: Array, target: Target) -> Array:
    """Maps (n or 1, height, width) as (k, n, height, width), one for each of the target's scores."""
    score = model.run(x, target=target).score
    return namespace(score).broadcast_to(like(maps, score), (*score.shape, *maps.shape[1:]))
