"""ReciproCAM."""

from __future__ import annotations

import numpy as np

from sightline.arrays import Array, like, namespace
from sightline.method import method
from sightline.model import Layer, Model, Target
from sightline.stream import split, stream
from sightline.tail import Tail


@method(
    "layer",
    family="CAM",
    cost="1 F + 1 tail a cell",
    source="Byun and Lee 2024, section 3, arXiv:2209.14074",
)
def recipro_cam(model: Model, x: Array, target: Target, *, layer: Layer) -> Array:
    """The score when one cell of a layer's feature map is kept and all others are zero.

    Less the least of them: shape (k, n, height, width) of the layer's own grid, not negative, in units of score; divided
    by its maximum it is the paper's map. (The authors' code takes the probability instead of the score, and a 3 x 3
    Gaussian around the cell on request.) Without gradients. A cell alone is a feature map as the model never saw one,
    and what takes two cells to see is in none of them.
    """
    tail = Tail(model, layer, x)
    value = tail.value
    xp, (height, width) = namespace(value), tuple(layer.spatial(value).shape)[1:3]

    def alone(cells: list[int]) -> Array:
        masks = np.eye(height * width)[cells].reshape(-1, height, width)
        return xp.where(like(layer.upon(masks[:, None]), value) > 0, value, xp.zeros_like(value))

    tails = stream(tail, value, range(height * width), alone, target=target)
    scores = xp.moveaxis(xp.concat([trace.score for _, trace in tails], axis=1), 1, -1)
    return split(scores - xp.min(scores, axis=-1, keepdims=True), height, 2)
