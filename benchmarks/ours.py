"""sightline's own contenders: the whole `explain()`, and the method alone on arrays that are the model's already."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import sightline as sl
from benchmarks.clock import Contender, Limit, Run
from benchmarks.families import Family
from benchmarks.table import OURS
from sightline.images import whole
from sightline.layers import choose_layer
from sightline.method import METHODS
from sightline.model import held
from sightline.params import settle_params
from sightline.question import Asked, Question
from sightline.settled import Images
from sightline.targets import wanted

ALONE = f"{OURS}, the method alone"
Peers = Mapping[str, Mapping[str, Run]]  # of each method, by whom


def contenders(
    loaded: sl.Loaded,
    x: Any,
    families: Iterable[Family],
    limit_of: Callable[[Family], Limit],
    peers: Peers,
    alone: bool,
) -> dict[str, Contender]:
    """Each method by us, and after it by the peers; with `alone` also the method alone."""
    found: dict[str, Contender] = {}
    for family in families:
        limit, name = limit_of(family), family.method
        found[f"{name}: {OURS}"] = Contender(_whole(loaded, x, family), limit, _warm(loaded, x, family))
        if alone:
            found[f"{name}: {ALONE}"] = Contender(_alone(loaded, x, family), limit)
        found |= {f"{name}: {by}": Contender(run, limit) for by, run in peers.get(name, {}).items()}
    return found


def _whole(loaded: sl.Loaded, x: Any, family: Family) -> Run:
    return lambda: sl.explain(loaded, x, method=family.method, **family.options)


def _warm(loaded: sl.Loaded, x: Any, family: Family) -> Run | None:
    """For a method of many passes a full one: enough to have compiled all."""
    few = {name: min(n, loaded.model.chunk) for name, n in family.options.items() if name in ("steps", "samples")}
    return _whole(loaded, x, Family(family.method, family.unit, options={**family.options, **few})) if few else None


def _alone(loaded: sl.Loaded, x: Any, family: Family) -> Run:
    """The attribution stays where the model is, as a peer's does; which class is the top one it finds by itself."""
    model, method = loaded.model, METHODS[family.method]
    settled: dict[str, Any] = dict(settle_params(method, family.options))
    if "layer" in method.needs:
        settled["layer"] = choose_layer(model.places(x), None)
    x = model.array(x)
    asked = wanted(["top"], (), model.channel, Images(whole(x, model.channel)))[0]

    def run() -> Any:
        with held(model):
            return method.attribute(Question(model, x, asked), x, Asked(), **settled)[0]

    return run
