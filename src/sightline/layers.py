"""Which layer a CAM uses: the one that was named, else the last that still has a grid."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import takewhile
from typing import Any

from sightline.arrays import Array, namespace, to_numpy
from sightline.errors import LayerError, ModelError, nearest
from sightline.model import ATTENTION, Layer, Model, Place, Target


def choose_layer(layers: Sequence[Layer], wanted: Any) -> Layer:
    """The layer called `wanted`, or that is that object; for None the last one with a grid, before any pooling.

    Raises LayerError for a layer that is not there (suggesting the nearest), that several are called, without a grid, or
    on which the score does not hang.
    """
    if wanted is None:
        return last_grid(layers)
    found = find_layer(layers, wanted)
    if found.unread:
        raise LayerError(
            f"layer {found.name!r} was given; the scores do not hang on what it gives.",
            f"Take one that they are made of, such as {last_grid(layers).name!r}.",
        )
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

    By shape and order. On VGG-16 it is the last convolution's ReLU; the max-pooling behind it and the average
    pooling, which leaves the shape as it is, come after. A softmax or sigmoid at the end of a segmentation is none: the
    score comes before it. Nor are queries, keys and values: where the score asks a class token, it is the normalisation
    before them. Raises LayerError where no layer has a grid.
    """
    questions = _questions(layers)

    def usable(layer: Layer) -> bool:
        return _maps(layer) and layer.name not in questions

    last = next((layer for layer in reversed(layers) if layer.weighted and usable(layer)), None)
    if last is None:
        raise LayerError(
            "a model was given in which no layer with weights has a height and width.",
            "Use a method that needs no layer, such as gradient or integrated-gradients.",
        )
    at = next(i for i, layer in enumerate(layers) if layer is last)
    same_size = takewhile(lambda layer: layer.grid == last.grid, filter(usable, layers[at:]))
    return [*same_size][-1]


def maps_of(layers: Sequence[Layer]) -> list[Layer]:
    """Those of the layers that a CAM may take: with a grid on which the score hangs, and more than a question to it."""
    questions = _questions(layers)
    return [layer for layer in layers if _maps(layer) and layer.name not in questions]


def _maps(layer: Layer) -> bool:
    """Whether the layer has a grid on which the score hangs, and is not the end itself."""
    return bool(layer.grid) and not layer.dead and layer.kind not in _HEADS and layer.activation not in _HEADS


def _questions(layers: Sequence[Layer]) -> set[str]:
    """What makes the queries, keys and values of an attention: linear layers inside of what attends after them."""
    found: set[str] = set()
    for at, layer in enumerate(layers):
        if layer.attends:
            inside = layer.name.partition(ATTENTION)[0] + "."
            found |= {each.name for each in layers[:at] if each.kind == "linear" and each.name.startswith(inside)}
    return found


_NO_ATTENTION = "Use a method that needs no attention, such as integrated-gradients, or attn-lrp."


def attention_layers(layers: Sequence[Layer]) -> tuple[list[Layer], Layer]:
    """The attention of a grid's tokens to each other, from the first block up, and the last layer that gives the tokens.

    Raises ModelError where there is none that is seen, where it is within windows, or not between the same tokens. That of
    a single token, or after all others of a few, only gathers what it reads.
    """
    every = [layer for layer in layers if layer.attends and layer.shape[-2] > 1]
    last_own = max((i for i, layer in enumerate(every) if layer.shape[-2] == layer.shape[-1]), default=-1)
    found = every[: last_own + 1]
    if not found:
        raise ModelError("a model was given in which no attention between tokens is seen.", _NO_ATTENTION)
    parted = next((layer for layer in found if len(layer.shape) > 3), None)
    if parted:
        raise ModelError(
            f"a model was given whose {parted.name!r} attends within each of {parted.shape[0]} windows, so that no "
            "token's attention can be followed from layer to layer.",
            _NO_ATTENTION,
        )
    counts = sorted({count for layer in found for count in layer.shape[-2:]})
    after = layers[layers.index(found[-1]) :]
    last = [layer for layer in after if layer.tokens and not layer.unread and layer.shape[0] == counts[-1]]
    if len(counts) > 1:
        raise ModelError(
            f"a model was given that attends over {', '.join(map(str, counts))} tokens; expected the tokens of one grid "
            "in every layer.",
            _NO_ATTENTION,
        )
    if not last:
        raise ModelError(
            f"a model was given that attends over {counts[0]} tokens or channels; no layer after that gives as many tokens, "
            "images first, so that nothing tells which of them the score reads.",
            _NO_ATTENTION,
        )
    return found, last[-1]


def backbone_of(layers: Sequence[Layer]) -> str:
    """The name of the last layer with a grid in what is called the backbone; else of the last of all."""
    own = [layer for layer in layers if "backbone." in layer.name and ".fpn" not in layer.name]
    own = [layer for layer in own if layer.kind != "intermediatelayergetter"]  # which gives a map of each stage
    return last_grid(own if any(layer.weighted and _maps(layer) for layer in own) else layers).name


def before_scores(model: Model, x: Array, layers: Sequence[Layer]) -> list[Layer]:
    """The layers of a segmentation up to its scores: those with a grid on which the outputs hang, and no class map.

    A layer with a channel for each class is the answer itself, and its own map as a CAM.
    """
    names = [layer.name for layer in layers if layer.grid]
    trace = model.run(x, at=names, target=Target(_energy))
    axis = 1 if model.channel == -3 else -1
    ends = {layer.name for layer in layers if layer.grid and layer.shape[layer.channel] == trace.outputs.shape[axis]}
    live = [name for name in names if name not in ends and to_numpy(trace.grads[name]).any()]
    last = max((i for i, layer in enumerate(layers) if layer.name in live), default=len(layers) - 1)
    return [layer for layer in layers[: last + 1] if layer.name in live or not layer.grid]


_MOST = 8  # tokens beside those of the grid: of the class, of a teacher, registers


def token_grid(shape: tuple[int, ...], known: Sequence[Layer]) -> tuple[int, int] | None:
    """Rows and columns of a shape (tokens, channels), from the grids of earlier layers; None where none of them fits.

    Tokens are as many as the cells of the latest such grid, or of one merged by two again and again, or a few more.
    """
    if len(shape) != 2 or shape[0] == 1:  # a single one is a pool of all
        return None
    merged = _merged(known)
    more = [shape[0] - h * w for h, w in merged]
    fitting = [(extra, i) for i, extra in enumerate(more) if 0 <= extra <= min(_MOST, (shape[0] - 1) // 3)]
    return merged[min(fitting)[1]] if fitting else None


def is_window(layer: Layer, known: Sequence[Layer]) -> bool:
    """Whether what looks like a grid is windows and their tokens, or an attention: channels last, a line, the shape of the
    attention around it, or the cells of the latest grid in other rows; and no earlier grid fits.
    """
    around = (each for each in known if each.attends and layer.name.startswith(each.name.partition(ATTENTION)[0] + "."))
    attention = any(layer.shape[-2:] == each.shape[-2:] for each in around)
    odd = layer.channel == -1 or 1 in (layer.grid or ()) or attention or _rearranged(layer, known)
    return len(layer.shape) == 3 and odd and layer.grid not in _merged(known)


def _rearranged(layer: Layer, known: Sequence[Layer]) -> bool:
    """Whether a grid has the cells of the latest one, but other rows: strides would have left fewer."""
    latest = next((each.grid for each in reversed(known) if each.grid and not each.dead), None)
    return bool(layer.grid and latest and layer.grid != latest and math.prod(layer.grid) == math.prod(latest))


def is_heads(layer: Layer, known: Sequence[Layer]) -> bool:
    """Whether what looks like a grid is tokens and their heads: a shape after tokens have come that no grid fits."""
    return any(each.tokens for each in known) and is_window(layer, known)


def _merged(known: Sequence[Layer]) -> list[tuple[int, int]]:
    """The grids of earlier layers, the latest first, each with what it is when halved again and again."""
    grids = list(dict.fromkeys(layer.grid for layer in reversed(known) if layer.grid and not layer.dead))
    return [(-(-h >> k), -(-w >> k)) for h, w in grids for k in range(6)]


def without_dead_grids(model: Model, x: Array, layers: Sequence[Layer]) -> list[Layer]:
    """The layers, those at the end with more tokens than cells told apart: whether any cell still reaches the outputs."""
    every = {layer.name: layer for layer in layers if layer.extra}
    told = set[Place]()  # where another token reaches them, so that it is known of the cells even if none does anywhere

    def dead_of(places: Sequence[Place]) -> set[Place]:
        grads = model.run(x, at=places, target=Target(_energy)).grads
        dead = {place for place in places if not _any_cell(every[place], grads[place])}
        told.update(place for place in dead if to_numpy(grads[place]).any())
        return dead

    dead = _silent(list(every), _AFTER_ATTENTION, dead_of) | told
    return [replace(layer, dead=layer.dead or layer.name in dead) for layer in layers]


def without_unread(model: Model, x: Array, layers: Sequence[Layer]) -> list[Layer]:
    """The layers, those at the end told apart from which nothing leads to the outputs: what gives its map beside a pool of
    it, of which the model reads the pool; what another output is made of. As the model runs for the images `x`.
    """

    def unread_of(places: Sequence[Place]) -> set[Place]:
        return set(model.run(x, at=places, target=Target(_energy)).unread)

    unread = _silent([layer.name for layer in layers if layer.name and layer.grid], _AFTER_GRIDS, unread_of)
    return [replace(layer, dead=layer.dead or layer.name in unread, unread=layer.name in unread) for layer in layers]


_AFTER_ATTENTION, _AFTER_GRIDS, _MOST_ASKED = 24, 8, 96  # layers in the first pass, and in any


def _silent(places: Sequence[Place], size: int, silent_of: Callable[[Sequence[Place]], set[Place]]) -> set[Place]:
    """Those at the end of the places that are silent, asked `size` and then more of them at a time until one is not; none
    where all are, since then nothing is known: there is no gradient, as in a quantised model, or the last weights are zero.
    """
    found = set[Place]()
    while places and size <= _MOST_ASKED:
        latest, places = places[-size:], places[:-size]
        try:
            silent = silent_of(latest)
        except ModelError:  # there is no gradient at any of them
            silent = set(latest)
        except Exception:  # nothing is known; the pass that is explained will say what it is, or needs no gradient
            return found
        found |= silent
        if len(silent) < len(latest):
            return found
        size *= 2
    return set()


def _any_cell(layer: Layer, gradient: Array) -> bool:
    return bool(to_numpy(layer.spatial(gradient)).any())


def _energy(outputs: Array) -> Array:
    """A score on which all outputs tell: (1, n)."""
    xp = namespace(outputs)
    return xp.sum(outputs * outputs + outputs, axis=tuple(range(1, len(outputs.shape))))[None]
