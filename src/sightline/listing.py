"""What there is: methods, metrics, and a model's layers."""

from __future__ import annotations

from typing import Any

import numpy as np

from sightline import metrics as _metrics  # noqa: F401  enters every metric, before `metrics` is a public function
from sightline.explain import refusals
from sightline.load import load, preprocessing_for
from sightline.method import METHODS
from sightline.metric import METRICS
from sightline.model import Layer


def methods() -> list[dict[str, Any]]:
    """Every method: `name`, `family`, `needs`, `cost` (in bare passes: F forward, FB forward and backward), `params`
    with their defaults, `summary`, `source`, and `scale_free`: whether the normalised map stays as it is when all scores
    are multiplied by a number."""
    return [
        {
            "name": m.name,
            "family": m.family,
            "needs": sorted(m.needs),
            "cost": m.cost,
            "params": dict(m.params),
            "summary": m.summary,
            "source": m.source,
            "scale_free": m.scale_free,
        }
        for m in sorted(METHODS.values(), key=lambda m: (m.family, m.name))
    ]


def metrics() -> list[dict[str, Any]]:
    """Every metric: `name`, `family`, `needs`, `better` ("higher", "lower", "neither"), `low` and `high` (the ends of its
    range), `params` with their defaults, `presets` (published protocols), `summary`, `source`."""
    return [
        {
            "name": m.name,
            "family": m.family,
            "needs": list(m.needs),
            "better": m.better,
            "low": m.low,
            "high": m.high,
            "params": dict(m.params),
            "presets": {name: dict(options) for name, options in m.presets.items()},
            "summary": m.summary,
            "source": m.source,
        }
        for m in sorted(METRICS.values(), key=lambda m: (m.family, m.name))
    ]


def layers(model: Any, **options: Any) -> list[Layer]:
    """The layers of a model (anything that `load` takes, with its options) in the order in which a pass meets them.

    A layer with a `grid` has a map. The input's size is that of the preprocessing, or the one that the model fixes.
    """
    loaded = load(model, **options)
    pre = preprocessing_for(loaded)
    height, width = pre.size or (loaded.size or (224, 224))[:2]
    blank = np.zeros((1, height, width, pre.channels), np.float32)
    x = loaded.model.array(np.moveaxis(blank, -1, loaded.model.channel))
    with refusals(loaded.name, tuple(x.shape)):
        return loaded.model.places(x)
