"""What maps of several layers share: the layers, and the maps between 0 and 1 on one grid."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sightline.arrays import Array, namespace, resize
from sightline.errors import MethodError
from sightline.layers import choose_layer, maps_of
from sightline.method import find
from sightline.methods._cam import over
from sightline.model import Layer, Model, Target


def unit_maps(model: Model, x: Array, target: Target, of: str, layers: Any, params: dict[str, Any]) -> list[Array]:
    """The maps (k, n, height, width) of the method `of` at each of `layers`, each divided by its maximum."""
    if "layer" not in find(of).needs:
        raise MethodError(
            f"of={of!r} was given; expected a method that explains at a layer.", "Name a CAM, such as layer-cam."
        )
    chosen = list(_chosen(model.places(x), layers))
    return [_unit(find(of).attribute(model, x, target, **params | {"layer": layer})[0]) for layer in chosen]


def on_finest(maps: Sequence[Array]) -> list[Array]:
    """Maps of several grids, resized bilinearly to the finest of them."""
    sizes = [tuple(one.shape)[-2:] for one in maps]
    height, width = max(size[0] for size in sizes), max(size[1] for size in sizes)
    return [one if size == (height, width) else resize(one, (height, width)) for one, size in zip(maps, sizes)]


def _unit(cam: Array) -> Array:
    xp = namespace(cam)
    positive = xp.maximum(cam, xp.zeros_like(cam))
    return over(positive, xp.max(positive, axis=(-2, -1), keepdims=True))


def _chosen(known: Sequence[Layer], wanted: Any) -> Iterator[Layer]:
    if wanted is None:
        yield from _stages(known)
    else:
        names = wanted.split(",") if isinstance(wanted, str) else wanted
        for name in names:
            yield choose_layer(known, name.strip())


def _stages(known: Sequence[Layer]) -> list[Layer]:
    """For each size of grid the last layer with weights, and what follows it on the same grid (batch norm, ReLU)."""
    found: dict[tuple[int, int], Layer] = {}
    maps = {layer.name for layer in maps_of(known)}
    for before, layer in zip([None, *known], known):
        grid = layer.grid if layer.name in maps else None
        if grid and (layer.weighted or (before is not None and found.get(grid) is before)):
            found[grid] = layer
    return list(found.values())
