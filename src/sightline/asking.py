"""A method asked of a model, for as many images at a time as go into a pass."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from sightline.arrays import Array, to_numpy
from sightline.baselines import NAMES, baseline_for, specs_of
from sightline.boxes import Box
from sightline.errors import LayerError, MethodError
from sightline.images import Geometry, whole
from sightline.layers import attention_layers, backbone_of, before_scores, choose_layer, find_layer
from sightline.load import Loaded
from sightline.memory import halved, lasted, out_of_memory
from sightline.method import Baselines, Method
from sightline.model import Layer, Model, Target, held
from sightline.preprocessing import Preprocessing
from sightline.question import Asked, Fixed, Question
from sightline.regions import Region
from sightline.settled import Facts, Images, Wanted
from sightline.similarity import Similarity
from sightline.stream import passing
from sightline.tail import Tail
from sightline.targets import Spec, wanted

_IMAGES = frozenset({"baseline", "backgrounds", "low", "high"})  # the options that are images like those explained


@dataclass(frozen=True)
class Request:
    """One method with its options settled, and what it is asked."""

    method: Method
    params: Mapping[str, Any]
    targets: Sequence[Spec]
    layer: Any
    reduce: str | None
    smooth: float
    random_state: int = 0
    notes: tuple[str, ...] = ()  # on the request itself


@dataclass(frozen=True)
class Found:
    """What a method found: k targets of n images, on the host."""

    attribution: np.ndarray  # (k, n, height, width) or (k, n, height, width, channels)
    checks: Mapping[str, np.ndarray]  # (k, n)
    score: np.ndarray  # (k, n)
    targets: list[list[Facts]]  # k lists of n
    outputs: np.ndarray
    head: str
    layer: str | None
    notes: tuple[str, ...] = ()


def ask(
    requests: Sequence[Request],
    loaded: Loaded,
    preprocessing: Preprocessing | None,
    x: Array,
    geometries: Sequence[Geometry] = (),
    share: float = 1.0,
) -> list[tuple[Found, float]]:
    """Run methods over the images `x`, a pass full of them at a time: what each found, and how many seconds it took.

    All have the same targets, and a pass that several of them need is made once, for the first of them. Where memory
    does not last, all is done again with half as many images in a pass, which changes no map; the answers say so.
    `share` is how much of one image's pass a tail's may hold.
    """
    model, note = loaded.model, ""
    while True:
        try:
            images = tuple(geometries) or whole(x, model.channel)
            with held(model):
                found = _asked(requests, replace(loaded, model=model), preprocessing, x, images, share)
            break
        except Exception as error:
            smaller = halved(model, share) if out_of_memory(error) else None
            if smaller is None:
                raise
        model, share = smaller
        note = lasted(model, share)
    return [(replace(each, notes=(*each.notes, note)), s) for each, s in found] if note else found


def _asked(
    requests: Sequence[Request],
    loaded: Loaded,
    preprocessing: Preprocessing | None,
    x: Array,
    geometries: tuple[Geometry, ...],
    share: float,
) -> list[tuple[Found, float]]:
    passes = [(rows, wanted_of(requests[0], loaded, geometries, rows)) for rows in passes_of(loaded.model, x)]
    settled = [_settled(request, loaded.model, preprocessing, x) for request in requests]
    parts: list[list[Found]] = [[] for _ in requests]
    seconds = [0.0] * len(requests)
    for rows, asked in passes:
        part = x if rows is None else x[rows, ...]
        questions = [Question(loaded.model, part, each, share, loaded.head) for each in asked]
        for i in _in_order(requests):
            start = time.perf_counter()
            layer, baselines = settled[i]
            own = {name: _each(partial(_rows, rows=rows), given) for name, given in baselines.items()}
            options = {**requests[i].params, **own}
            parts[i].append(_together([_part(requests[i].method, options, q, layer) for q in questions], 0))
            seconds[i] += time.perf_counter() - start
    return [(_together(found, 1), time_taken) for found, time_taken in zip(parts, seconds)]


def answer_again(
    request: Request, loaded: Loaded, preprocessing: Preprocessing | None, x: Array, target: Target
) -> Found:
    """What the method finds in the images `x`, all in one pass, for a target that is known."""
    layer, baselines = _settled(request, loaded.model, preprocessing, x)
    return _part(
        request.method,
        {**request.params, **baselines},
        Question(loaded.model, x, Fixed(target), told=loaded.head),
        layer,
    )


def wanted_of(request: Request, loaded: Loaded, geometries: tuple[Geometry, ...], rows: slice | None) -> list[Wanted]:
    """What the request asks of some of the images."""
    rows = slice(None) if rows is None else rows
    return wanted(request.targets, loaded.labels, loaded.model.channel, Images(geometries[rows], rows))


def passes_of(model: Model, x: Array) -> list[slice | None]:
    """The rows of each pass full of images; None where one pass takes all."""
    bound = bool(getattr(model, "others", None))  # its other inputs belong to these very images
    count = x.shape[0]
    if bound or count == 1 or count <= (size := passing(model, x)):
        return [None]
    return [slice(i, min(i + size, count)) for i in range(0, count, size)]


def _in_order(requests: Sequence[Request]) -> list[int]:
    """Methods that take gradients first: their pass tells the others what they need, and not the other way round."""
    return sorted(
        range(len(requests)), key=lambda i: "gradient" not in requests[i].method.base(requests[i].params).needs
    )


def _settled(
    request: Request, model: Model, preprocessing: Preprocessing | None, x: Array
) -> tuple[Layer | None, dict[str, Array | tuple[Array, ...]]]:
    return _layer(request, model, x), _baselines(request, model, preprocessing, x)


def _layer(request: Request, model: Model, x: Array) -> Layer | None:
    if "attention" in request.method.base(request.params).needs:
        _check_attention(request, model, x)
    if "layer" not in request.method.base(request.params).needs and request.layer is None:
        return None
    layers = model.places(x)
    if request.layer is None and any(isinstance(spec, Box) for spec in request.targets):
        raise LayerError(
            f"{request.method.name} of a box was asked for; a detector has many maps, and none is the last.",
            f"Name one with layer=, such as {backbone_of(layers)!r} (`sightline layers MODEL`).",
        )
    if request.layer is None and any(isinstance(spec, Region) for spec in request.targets):
        layers = before_scores(model, x[:1, ...], layers)
    return choose_layer(_up_to_places(request, layers), request.layer)


def _up_to_places(request: Request, layers: list[Layer]) -> list[Layer]:
    """The layers that come before a place whose value is explained; LayerError for another that was asked for."""
    names = [layer.name for layer in layers]
    places = [spec.place for spec in request.targets if isinstance(spec, Similarity) and spec.place is not None]
    last = min((names.index(place) for place in places if place in names), default=len(names))
    if request.layer is not None and names.index(find_layer(layers, request.layer).name) > last:
        raise LayerError(
            f"layer {request.layer!r} was given; it comes after {names[last]!r}, whose value is explained.",
            "Take one before it.",
        )
    return layers[: last + 1]


def _check_attention(request: Request, model: Model, x: Array) -> None:
    """Raise an error at once where a method of attention cannot be asked."""
    attention_layers(model.places(x))
    if request.layer is not None:
        raise LayerError(
            f"layer {request.layer!r} was given; {request.method.name} goes through the attention of all layers.",
            "Leave the layer out.",
        )


def _baselines(
    request: Request, model: Model, preprocessing: Preprocessing | None, x: Array
) -> dict[str, Array | tuple[Array, ...]]:
    """What the options that are baselines stand for: an array like `x`, or a tuple of them where a method takes many.

    A background that is the same for every image is there once, for however many images.
    """
    hints = {**request.method.base(request.params).hints, **request.method.hints}
    found: dict[str, Array | tuple[Array, ...]] = {}
    for name in _IMAGES & set(request.params):
        specs = specs_of(request.params[name], images=name == "backgrounds")
        if len(specs) > 1 and hints[name] != Baselines:
            raise MethodError(
                f"{name}={request.params[name]!r} was given; {request.method.name} takes one.",
                "Give one, or use integrated-gradients, which takes the mean over several.",
            )
        each = tuple(
            baseline_for(spec, _owners(spec, name, model, x), model.channel, preprocessing, request.random_state)
            for spec in specs
        )
        found[name] = each if hints[name] == Baselines else each[0]
    return found


def _owners(spec: Any, name: str, model: Model, x: Array) -> Array:
    """The images that a baseline is made for: one is enough for a background that all of them share."""
    own = name == "baseline" or (isinstance(spec, str) and spec in NAMES) or getattr(model, "others", None)
    return x if own else x[:1, ...]


def _each(change: Callable[[Array], Array], given: Array | tuple[Array, ...]) -> Array | tuple[Array, ...]:
    """`change` of an array, or of each of several."""
    return tuple(map(change, given)) if isinstance(given, tuple) else change(given)


def _rows(a: Array, rows: slice | None) -> Array:
    return a if rows is None or a.shape[0] == 1 else a[rows, ...]


def _part(method: Method, options: dict[str, Any], question: Question, layer: Layer | None) -> Found:
    model: Model = question
    image = question.x
    if layer is not None and "layer" in method.base(options).needs:
        options = options | {"layer": layer}
    elif layer is not None:  # the method explains the layer's output: the rest of the model is a model too
        model = Tail(question, layer, question.x)
        image = model.value
        for name in _IMAGES & set(options):
            there = _each(lambda b: question.run(b, at=[layer.name]).values[layer.name], options[name])
            options = options | {name: there}
    attribution, checks = method.attribute(model, image, Asked(), **options)
    return Found(
        _channels_last(to_numpy(attribution), model.channel, len(image.shape)),
        {name: to_numpy(values) for name, values in checks.items()},
        to_numpy(question.score()),
        question.found(),
        to_numpy(question.outputs),
        question.head,
        layer.name if layer else None,
        question.notes,
    )


def _channels_last(attribution: np.ndarray, channel: int, image_axes: int) -> np.ndarray:
    whole = attribution.ndim == image_axes + 1
    return np.moveaxis(attribution, channel, -1) if whole else attribution


def _together(parts: Sequence[Found], axis: int) -> Found:
    """Parts of the targets (axis 0) or of the images (axis 1) put together."""
    first = parts[0]
    if len(parts) == 1:
        return first
    by_target = [facts for part in parts for facts in part.targets]
    by_image = [[f for facts in each for f in facts] for each in zip(*(part.targets for part in parts))]
    return Found(
        np.concatenate([part.attribution for part in parts], axis=axis),
        {name: np.concatenate([part.checks[name] for part in parts], axis=axis) for name in first.checks},
        np.concatenate([part.score for part in parts], axis=axis),
        by_image if axis else by_target,
        _stacked([part.outputs for part in parts]) if axis else first.outputs,
        first.head,
        first.layer,
        tuple(dict.fromkeys(note for part in parts for note in part.notes)),
    )


def _stacked(outputs: Sequence[np.ndarray]) -> np.ndarray:
    """Outputs of one pass after the other; detections, which are more in some than in others, filled up with zeros."""
    if len({each.shape[1:] for each in outputs}) > 1 and outputs[0].ndim == 3:
        most = max(each.shape[1] for each in outputs)
        outputs = [np.pad(each, ((0, 0), (0, most - each.shape[1]), (0, 0))) for each in outputs]
    return np.concatenate(outputs, axis=0)
