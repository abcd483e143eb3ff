"""Which layer a CAM uses: the one that was named, else the last that still has a grid."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import Any

from sightline.errors import LayerError, nearest
from sightline.model import Layer


def choose_layer(layers: Sequence[Layer], wanted: Any) -> Layer:
    """The layer called `wanted`, or that is that object; for None the last one with a grid, before any pooling.

    Raises LayerError for a layer that is not there (suggesting the nearest), that several are called, or without a grid.
    """
    if wanted is None:
        return last_grid(layers)
    found = find_layer(layers, wanted)
    if found.grid is None:
        name = repr(wanted) if isinstance(wanted, str) else type(wanted).__name__
        raise LayerError(
            f"layer {name} was given; its output of shape {found.shape} has no height and width.",
            f"Take one that still has a map, such as {last_grid(layers).name!r}.",
        )
    return found


def find_layer(layers: Sequence[Layer], wanted: Any) -> Layer:
    """The layer called `wanted`, or that is that object, with a grid or without; errors as in `choose_layer`."""
    if not isinstance(wanted, str):
        found = [layer for layer in layers if layer.object is wanted]
        name = type(wanted).__name__
    else:
        found = [layer for layer in layers if layer.name == wanted]
        found = found or [layer for layer in layers if layer.name and layer.name.endswith((f"/{wanted}", f".{wanted}"))]
        name = repr(wanted)
    if not found:
        hint = nearest(str(wanted), [layer.name for layer in layers if layer.name], "`sightline layers MODEL`")
        raise LayerError(f"layer {name} was given; a pass of this model does not meet it.", hint)
    if len({layer.name for layer in found}) > 1 and isinstance(wanted, str):
        raise LayerError(
            f"layer {name} was given; several are called that: {', '.join(layer.name for layer in found)}.",
            "Give the whole name of the one you mean.",
        )
    return found[-1]


_HEADS = {"softmax", "softmax2d", "log_softmax", "logsoftmax", "sigmoid"}


def last_grid(layers: Sequence[Layer]) -> Layer:
    """The last layer with a grid, as large as the last one that has weights gave it: so before any pooling to a vector.

    By shape and order alone. On VGG-16 it is the last convolution's ReLU; the max-pooling behind it and the average
    pooling, which leaves the shape as it is, come after. A softmax or sigmoid at the end of a segmentation is none: the
    score comes before it. Raises LayerError where no layer has a grid.
    """
    last = next((layer for layer in reversed(layers) if layer.weighted and layer.grid and not _ends(layer)), None)
    if last is None:
        raise LayerError(
            "a model was given in which no layer with weights has a height and width.",
            "Use a method that needs no layer, such as gradient or integrated-gradients.",
        )
    at = next(i for i, layer in enumerate(layers) if layer is last)
    same_size = takewhile(lambda layer: layer.grid == last.grid and not _ends(layer), layers[at:])
    return [*same_size][-1]


def _ends(layer: Layer) -> bool:
    return layer.kind in _HEADS or layer.activation in _HEADS
