"""measure(): whether maps are faithful, robust, in the right place, simple; in numbers that carry their protocol."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from sightline.errors import MethodError
from sightline.explain import refusals, requests_for
from sightline.inputs import is_input, take
from sightline.load import LOADING, load, preprocessing_for
from sightline.masks import masks_for
from sightline.measurement import Measurement
from sightline.measuring import Chosen, measured
from sightline.memory import as_bytes, fitted
from sightline.method import AtLeast
from sightline.metric import find_metric
from sightline.model import held
from sightline.params import check_number, settle
from sightline.references import resolved


def measure(
    model: Any,
    images: Any,
    *,
    metric: Any = ("deletion", "insertion"),
    method: str | Sequence[str] = "grad-cam",
    target: Any = "top",
    masks: Any = None,
    layer: Any = None,
    reduce: str | None = None,
    smooth: float = 0.0,
    memory: str | int | None = None,
    random_state: int = 0,
    **options: Any,
) -> list[Measurement]:
    """Whether the maps of `explain` can be trusted: a Measurement for each method, target and metric.

    `metric`: one or several of `sightline.metrics()`, each a name ("deletion"), a name with a published protocol
    ("deletion:rise-2018") or with options ("deletion:steps=10,fill=black"), or a mapping name -> options. `masks`: what
    matters in each image, a file or an array (height, width) of the picture or of the model's input. Everything else is
    as in `explain`, and `load`. Raises a SightlineError for every mistake.

    >>> from sightline.worlds import find_world
    >>> scale = find_world("fish-scales").draw(7, size=96)
    >>> found = measure("world:fish-scales/rings", scale.image, metric="energy-pointing-game", masks=[scale.mask])
    >>> found[0].better, found[0].range
    ('higher', (0, 1))
    """
    loaded = load(model, **{name: options.pop(name) for name in LOADING if name in options})
    options["random_state"] = check_number("random_state", random_state, int, AtLeast(0))
    chosen = [settled(each, options["random_state"]) for each in specs_in(metric)]
    requests = requests_for(method, options, target, layer, reduce, smooth)
    preprocessing = loaded.preprocessing if is_input(images) else preprocessing_for(loaded)
    given = take(images, loaded.model, preprocessing)
    right = None if masks is None else masks_for(masks, given.geometries)
    _check_needs(chosen, right)
    with refusals(loaded.name, tuple(given.x.shape)):
        targets = resolved(requests[0].targets, loaded)
        requests = [replace(request, targets=targets) for request in requests]
        model, share = fitted(loaded.model, given.x, as_bytes(memory))
        with held(model):
            return measured(requests, chosen, replace(loaded, model=model), preprocessing, given, right, share)


def specs_in(metric: Any) -> list[tuple[str, dict[str, Any]]]:
    """Names and options of the metrics asked for."""
    if isinstance(metric, Mapping):
        return [(name, dict(options)) for name, options in metric.items()]
    return [_spec(each) for each in ([metric] if isinstance(metric, str) else metric)]


def _spec(text: str) -> tuple[str, dict[str, Any]]:
    """A metric out of "deletion:rise-2018" or "deletion:steps=10,fill=black"."""
    return read_spec(text, find_metric(text.partition(":")[0]).presets)


def read_spec(text: str, presets: Mapping[str, Mapping[str, Any]] | None = None) -> tuple[str, dict[str, Any]]:
    """A name and its options out of "name:key=value,key=value", where a preset's name stands for its options.

    >>> read_spec("integrated-gradients:baseline=mean,steps=10")
    ('integrated-gradients', {'baseline': 'mean', 'steps': '10'})
    """
    name, _, rest = text.partition(":")
    options: dict[str, Any] = {}
    for part in (part.strip() for part in rest.split(",") if part.strip()):
        key, equals, value = part.partition("=")
        if not equals and part not in (presets or {}):
            raise MethodError(
                f"{text!r} was given; {name} has no protocol called {part!r}.",
                f"Use {', '.join(presets or {}) or 'options, written key=value'}.",
            )
        options |= {key.strip(): value.strip()} if equals else dict((presets or {})[part])
    return name.strip(), options


def settled(spec: tuple[str, Mapping[str, Any]], random_state: int) -> Chosen:
    """A metric with each of its options; MethodError for one that it does not have."""
    found = find_metric(spec[0])
    own = {"random_state": random_state} if "random_state" in found.params else {}
    return Chosen(found, settle(found.name, "metrics", found.params, found.hints, own | dict(spec[1])))


def _check_needs(chosen: Iterable[Chosen], masks: np.ndarray | None) -> None:
    for each in chosen:
        if "masks" in each.metric.needs and masks is None:
            raise MethodError(
                f"metric {each.metric.name!r} was given without masks; it compares maps with what matters.",
                "Give masks=, one for each image.",
            )
