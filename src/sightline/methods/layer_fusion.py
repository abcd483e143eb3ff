"""Fusion of several layers."""

from __future__ import annotations

from functools import reduce
from typing import Any

from sightline.arrays import Array, namespace
from sightline.method import Names, method
from sightline.methods._layers import on_finest, unit_maps
from sightline.model import Model, Target

_GAMMA = 2  # Jiang et al. 2021, section III-C


@method(
    family="wrapper",
    cost="layers × the method wrapped",
    source="Jiang et al. 2021, equation 9, doi:10.1109/TIP.2021.3089943",
)
def layer_fusion(
    model: Model, x: Array, target: Target, *, of: str = "layer-cam", layers: Names = None, **params: Any
) -> Array:
    """Another method's maps of several layers, as one: the largest of them in each cell.

    Each map's positive part is divided by its maximum, scaled by tanh(2 m), which the paper does for shallow layers and
    torchcam, as here, for all, and resized bilinearly to the finest grid among them. `layers` are names, in a list or
    with commas between; by default the last layer of every size of grid. Shape (k, n, height, width), between 0 and 1.
    Since each layer is divided by its own maximum, it cannot tell how much a layer matters.
    """
    xp = namespace(x)
    maps = [xp.tanh(_GAMMA * cam) for cam in unit_maps(model, x, target, of, layers, params)]
    return reduce(xp.maximum, on_finest(maps))
