"""Random."""

from __future__ import annotations

import numpy as np

from sightline.arrays import Array
from sightline.hiding import size_of
from sightline.method import method
from sightline.methods._control import for_every_target
from sightline.model import Model, Target


@method(family="control", cost="1 F", source="a control: what a measure says of a map that knows nothing")
def random(model: Model, x: Array, target: Target, *, random_state: int = 0) -> Array:
    """Uniform noise, one draw for every image: what a method must at least be better than.

    Shape (k, n, height, width), 0 to 1. It sees neither the model nor the picture.
    """
    draw = np.random.default_rng(random_state).uniform(size=(1, *size_of(model, x)))
    return for_every_target(draw, model, x, target)
