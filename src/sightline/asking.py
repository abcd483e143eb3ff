"""A method asked of a model, for as many images at a time as go into a pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sightline.arrays import Array, to_numpy
from sightline.baselines import baseline_for
from sightline.layers import choose_layer
from sightline.load import Loaded
from sightline.method import Method
from sightline.model import Layer, Model, Tail
from sightline.preprocessing import Preprocessing
from sightline.question import Asked, Question
from sightline.targets import Facts, Spec


@dataclass(frozen=True)
class Request:
    """One method with its options settled, and what it is asked."""

    method: Method
    params: Mapping[str, Any]
    targets: Sequence[Spec]
    layer: Any
    reduce: str | None
    smooth: float


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


def ask(request: Request, loaded: Loaded, preprocessing: Preprocessing | None, x: Array) -> Found:
    """Run a method over the images `x`, a pass full of them at a time."""
    layer = _layer(request, loaded.model, x)
    bound = bool(getattr(loaded.model, "others", None))  # its other inputs belong to these very images
    size = x.shape[0] if bound else loaded.model.chunk
    parts = [
        _together(
            [_part(request, specs, loaded, preprocessing, x[i : i + size], layer) for specs in _questions(request)], 0
        )
        for i in range(0, x.shape[0], size)
    ]
    return _together(parts, 1)


def _questions(request: Request) -> list[list[Spec]]:
    """Targets that one pass can answer: all that are no functions together, each function alone."""
    groups: list[list[Spec]] = []
    for spec in request.targets:
        if groups and not callable(spec) and not callable(groups[-1][0]):
            groups[-1].append(spec)
        else:
            groups.append([spec])
    return groups


def _layer(request: Request, model: Model, x: Array) -> Layer | None:
    if "layer" not in request.method.base(request.params).needs and request.layer is None:
        return None
    return choose_layer(model.places(x), request.layer)


def _part(
    request: Request,
    specs: Sequence[Spec],
    loaded: Loaded,
    preprocessing: Preprocessing | None,
    x: Array,
    layer: Layer | None,
) -> Found:
    question = Question(loaded.model, x, specs, loaded.labels)
    model: Model = question
    options, image = dict(request.params), x
    if "baseline" in options:
        seed = options.get("random_state", 0)
        options["baseline"] = baseline_for(options["baseline"], x, model.channel, preprocessing, seed)
    if layer is not None and "layer" in request.method.base(request.params).needs:
        options["layer"] = layer
    elif layer is not None:  # the method explains the layer's output: the rest of the model is a model too
        image = question.run(x, at=[layer.name]).values[layer.name]
        if "baseline" in options:
            options["baseline"] = question.run(options["baseline"], at=[layer.name]).values[layer.name]
        model = Tail(question, layer, x)
    attribution, checks = request.method.attribute(model, image, Asked(), **options)
    question.settle()
    return Found(
        _channels_last(to_numpy(attribution), model.channel, len(image.shape)),
        {name: to_numpy(values) for name, values in checks.items()},
        to_numpy(question.score()),
        question.found,
        to_numpy(question.outputs),
        question.head,
        layer.name if layer else None,
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
        np.concatenate([part.outputs for part in parts], axis=0) if axis else first.outputs,
        first.head,
        first.layer,
    )
