"""What a metric is given of some images, and what it says of the maps of every method and target."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from sightline.arrays import Array, to_numpy
from sightline.asking import Request, answer_again, ask, passes_of, wanted_of
from sightline.baselines import baseline_for
from sightline.describe import describe, maps_of
from sightline.errors import MethodError
from sightline.explanation import Explanation
from sightline.inputs import Given
from sightline.load import Loaded
from sightline.measurement import Facts, Measurement
from sightline.metric import Metric
from sightline.model import Target
from sightline.preprocessing import Preprocessing
from sightline.question import Question
from sightline.scores import Probability, pick_target


@dataclass(frozen=True)
class Chosen:
    """A metric with its options settled."""

    metric: Metric
    params: Mapping[str, Any]


def measured(
    requests: Sequence[Request],
    chosen: Sequence[Chosen],
    loaded: Loaded,
    preprocessing: Preprocessing | None,
    given: Given,
    masks: np.ndarray | None,
    share: float,
) -> list[Measurement]:
    """Every metric of every method and target."""
    found = ask(requests, loaded, preprocessing, given.x, given.geometries, share)
    rows = [rows or slice(0, given.x.shape[0]) for rows in passes_of(loaded.model, given.x)]
    targets = [_targets(requests[0], loaded, given, some) for some in rows]
    answers: list[Measurement] = []
    for request, (each, seconds) in zip(requests, found):
        for k, explanation in enumerate(describe(request, each, loaded, preprocessing, given, 1, seconds)):
            asked = [
                _given(request, explanation, loaded, preprocessing, given, masks, some, those[k])
                for some, those in zip(rows, targets)
            ]
            answers += [_measurement(one, explanation, asked, loaded, preprocessing) for one in chosen]
    return answers


def _targets(request: Request, loaded: Loaded, given: Given, rows: slice) -> list[Target]:
    """Each of the targets, of one score an image, as the model answers to these images."""
    found = []
    for group in wanted_of(request, loaded, given.geometries, rows):
        question = Question(loaded.model, given.x[rows, ...], group, told=loaded.head)
        found += [question.target().only(row) for row in range(len(question.found()))]
    return found


def _given(
    request: Request,
    explanation: Explanation,
    loaded: Loaded,
    preprocessing: Preprocessing | None,
    given: Given,
    masks: np.ndarray | None,
    rows: slice,
    target: Target,
) -> dict[str, Any]:
    """What a metric may ask for of some of the images."""
    x = given.x[rows, ...]
    size = given.geometries[0].crop[2:]
    return {
        "maps": explanation.map[rows].astype(np.float64),
        "attribution": explanation.attribution[rows].astype(np.float64),
        "masks": None if masks is None else masks[rows],
        "model": loaded.model,
        "x": x,
        "target": target,
        "probability": _probability(explanation, target),
        "pixels": partial(_pixels, preprocessing, x, loaded.model.channel),
        "again": partial(_again, request, loaded, preprocessing, x.shape[0], size, target),
        "another": partial(_another, loaded, x, explanation.target[rows], _is_class(explanation)),
    }


def _probability(explanation: Explanation, target: Target) -> Target | None:
    """The probability of the class that is explained; None where it is no class's score."""
    return target.then(Probability(explanation.head)) if _is_class(explanation) else None


def _is_class(explanation: Explanation) -> bool:
    named = all(isinstance(facts["index"], int) for facts in explanation.target)
    return bool(named and explanation.top and explanation.top[0])


def _another(loaded: Loaded, x: Array, explained: Sequence[Facts], is_class: bool, random_state: int) -> Target:
    """Another class of each image: the explained one and a step that is drawn once for all of them."""
    if not is_class:
        raise MethodError(
            "another class was asked for; what is explained is no single class of a classifier.", "Explain a class."
        )
    outputs = loaded.model.run(x).outputs
    count = max(outputs.shape[1], 2)  # one output has two classes
    classes = (
        np.array([facts["index"] for facts in explained]) + np.random.default_rng(random_state).integers(1, count)
    ) % count
    return pick_target(classes[:, None, None], np.ones((1, 1)), outputs)


def _pixels(preprocessing: Preprocessing | None, x: Array, channel: int, images: Array) -> np.ndarray:
    """Pictures (m, h, w, c) of changed copies of `x`; without a known preprocessing each image's own ends are 0 and 255."""
    own, values = (np.moveaxis(to_numpy(a), channel, -1).astype(np.float64) for a in (x, images))
    if preprocessing is not None:
        return preprocessing.undo(values)
    low, high = (
        np.tile(f(own, axis=(1, 2, 3)), len(values) // len(own))[:, None, None, None] for f in (np.min, np.max)
    )
    return np.asarray(np.rint(np.clip((values - low) / np.where(high > low, high - low, 1), 0, 1) * 255), np.uint8)


def _again(
    request: Request,
    loaded: Loaded,
    preprocessing: Preprocessing | None,
    count: int,
    size: tuple[int, int],
    own: Target,
    images: Array,
    target: Target | None = None,
) -> np.ndarray:
    """The maps (m, h, w) of other images, copies of the `count` that the target was found for behind each other."""
    asked = (target or own).repeat(images.shape[0] // count)
    return maps_of(request, answer_again(request, loaded, preprocessing, images, asked), size).astype(np.float64)


def _measurement(
    chosen: Chosen,
    explanation: Explanation,
    asked: Sequence[Mapping[str, Any]],
    loaded: Loaded,
    preprocessing: Preprocessing | None,
) -> Measurement:
    start = time.perf_counter()
    fill = partial(_filled, chosen.params, loaded, preprocessing)
    parts = [chosen.metric.values(given, fill(given["x"])) for given in asked]
    return Measurement(
        metric=chosen.metric.name,
        values=np.concatenate([values for values, _ in parts]),
        protocol=dict(chosen.params),
        curves={name: np.concatenate([curves[name] for _, curves in parts]) for name in parts[0][1]},
        explanation=explanation,
        seconds=time.perf_counter() - start,
    )


def _filled(params: Mapping[str, Any], loaded: Loaded, preprocessing: Preprocessing | None, x: Array) -> dict[str, Any]:
    """The options, what fills the place of removed pixels as images like `x`."""
    if "fill" not in params:
        return dict(params)
    state = params.get("random_state", 0)
    made: Callable[..., Array] = partial(baseline_for, params["fill"], x, loaded.model.channel, preprocessing)
    return {**params, "fill": made(state)}
