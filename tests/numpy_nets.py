"""Models in NumPy alone, and what a metric is given of them: the metrics are tested on these in no time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

import sightline  # noqa: F401  enters every metric
from sightline.baselines import baseline_for
from sightline.measuring import _pixels
from sightline.metric import find_metric
from sightline.model import Target, Trace
from sightline.params import settle
from sightline.scores import Probability


@dataclass(frozen=True)
class NumpyModel:
    """`function`: images (n, h, w, c) -> scores (n, classes)."""

    function: Callable[[np.ndarray], np.ndarray]
    chunk: int = 16
    channel: int = -1
    passes: list[int] = field(default_factory=list)  # how many images each had

    def run(self, x: np.ndarray, *, at: Any = (), edit: Any = None, target: Any = None, rule: Any = None) -> Trace:
        self.passes.append(len(x))
        outputs = self.function(x)
        return Trace(outputs, None if target is None else target(outputs))


def linear(weights: np.ndarray, bias: float = 0.0) -> Callable[[np.ndarray], np.ndarray]:
    """The score of class 0 is linear, that of class 1 its negative; `weights` (h, w, c)."""

    def scores(x: np.ndarray) -> np.ndarray:
        z = (x * weights).sum(axis=(1, 2, 3)) + bias
        return np.stack([z, -z], axis=1)

    return scores


def curved(shape: tuple[int, ...], classes: int, seed: int) -> Callable[[np.ndarray], np.ndarray]:
    """A small net that is not linear."""
    rng = np.random.default_rng(seed)
    first = rng.normal(size=(int(np.prod(shape)), 12)) / np.sqrt(np.prod(shape))
    second, bias = rng.normal(size=(12, classes)), rng.normal(size=classes)
    return lambda x: np.tanh(x.reshape(len(x), -1) @ first) @ second + bias


def picked(outputs: np.ndarray, classes: np.ndarray) -> np.ndarray:
    return outputs[np.arange(len(outputs)), classes][None]


def given(model: NumpyModel, x: np.ndarray, maps: np.ndarray, classes: np.ndarray | None = None) -> dict[str, Any]:
    """What `measure` gives a metric; the top classes are explained."""
    classes = model.function(x).argmax(axis=1) if classes is None else classes
    target = Target(picked, (classes,))
    return {
        "maps": maps,
        "attribution": maps[..., None] * np.ones(x.shape[-1]) / x.shape[-1],
        "model": model,
        "x": x,
        "target": target,
        "probability": target.then(Probability("softmax")),
        "pixels": partial(_pixels, None, x, -1),
        "again": lambda images: np.abs(images).sum(axis=-1),
    }


def measured(name: str, what: dict[str, Any], **options: Any) -> np.ndarray:
    return with_curves(name, what, **options)[0]


def with_curves(name: str, what: dict[str, Any], **options: Any) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """A metric's values and curves, its options settled as `measure` does."""
    metric = find_metric(name)
    params = settle(metric.name, "metrics", metric.params, metric.hints, options)
    if "fill" in params:
        params["fill"] = baseline_for(params["fill"], what["x"], -1, None, params.get("random_state", 0))
    return metric.values(what, params)
