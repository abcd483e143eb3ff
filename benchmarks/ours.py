"""sightline's own contenders: the whole `explain()`, and the method alone on arrays that are the model's already."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sightline as sl
from benchmarks.clock import Run
from sightline.baselines import baseline_for
from sightline.layers import choose_layer
from sightline.method import METHODS
from sightline.params import settle_params
from sightline.targets import wanted

WHOLE, ALONE = "sightline", "sightline, the method alone"


def contenders(loaded: sl.Loaded, x: Any, methods: Mapping[str, Mapping[str, Any]]) -> dict[str, Run]:
    """Each method with its options, both ways."""
    found: dict[str, Run] = {}
    for name, options in methods.items():
        found[f"{name}: {WHOLE}"] = _whole(loaded, x, name, options)
        found[f"{name}: {ALONE}"] = _alone(loaded, x, name, options)
    return found


def _whole(loaded: sl.Loaded, x: Any, name: str, options: Mapping[str, Any]) -> Run:
    return lambda: sl.explain(loaded, x, method=name, **options)


def _alone(loaded: sl.Loaded, x: Any, name: str, options: Mapping[str, Any]) -> Run:
    model, method = loaded.model, METHODS[name]
    settled: dict[str, Any] = dict(settle_params(method, options))
    if "baseline" in settled:
        settled["baseline"] = baseline_for(settled["baseline"], x, model.channel, None, 0)
    if "layer" in method.needs:
        settled["layer"] = choose_layer(model.places(x), None)
    target = wanted(["top"], (), model.channel)[0].guess(x)
    return lambda: method.attribute(model, x, target, **settled)
