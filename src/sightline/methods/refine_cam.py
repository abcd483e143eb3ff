"""RefineCAM."""

from __future__ import annotations

from functools import reduce
from operator import mul
from typing import Any

from sightline.arrays import Array
from sightline.method import Names, method
from sightline.methods._layers import on_finest, unit_maps
from sightline.model import Model, Target


@method(
    family="wrapper",
    cost="layers × the method wrapped",
    source="Domeniconi et al. 2026, section on RefineCAM, arXiv:2605.14641",
    scale_free=False,
)
def refine_cam(
    model: Model, x: Array, target: Target, *, of: str = "grad-cam-plus-plus", layers: Names = None, **params: Any
) -> Array:
    """Another method's maps of several layers, as one: their product in each cell.

    Each map's positive part is divided by its maximum and resized bilinearly to the finest grid among them. `layers`
    are names, in a list or with commas between; by default the last layer of every size of grid. Shape (k, n, height,
    width), between 0 and 1. (pytorch-grad-cam and torchcam also move each map's minimum to zero.) One layer that is
    blind to a place removes it from the product, whatever the others see there.
    """
    return reduce(mul, on_finest(unit_maps(model, x, target, of, layers, params)))
