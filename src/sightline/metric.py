"""The registry of metrics: `@metric` enters a function, with what its number means.

A metric is a function of n images that asks for what it needs by the names of its arguments:

- `maps` (n, h, w) float64 on the host, one number a pixel of the model's input; `attribution` (n, ...) before reduction;
- `masks` (n, h, w) bool: what matters;
- `model`, `x`, `target`: the seam, the images as the model takes them, and what the maps explain, one score an image;
- `probability`: the probability of what they explain as a target, None where that is no class;
- `pixels(images)`: uint8 pictures (m, h, w, c) of `x`, or of copies of `x` that were changed;
- `again(images, target=None)`: the maps (m, h, w) that the same method makes of other images, of which there may be
  several copies of `x` behind each other; with `target` of another one;
- `another(random_state)`: another class of each image as a target, drawn; MethodError where no class is explained.

Its options follow, by keyword; together they are the protocol that every number carries. One called `fill` arrives as
images like `x`. It gives the values (n,), or these and its curves, name -> (n, points).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, get_type_hints

import numpy as np

from sightline.errors import MethodError, nearest

Better = Literal["higher", "lower", "neither"]
Scored = Literal["probability", "logit", "accuracy"]  # accuracy: 1 where what is explained is the highest class
Ties = Literal["shuffled", "first", "last"]  # among pixels of one value: a seeded draw, or by their place
Curves = dict[str, np.ndarray]


@dataclass(frozen=True)
class Metric:
    """A function of maps, and how its number is to be read."""

    name: str
    function: Callable[..., Any]
    family: str
    better: Better
    low: float
    high: float
    source: str
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # published protocols, by name
    also: str = ""  # another name of the same

    @property
    def summary(self) -> str:
        """The first sentence of its docstring."""
        return (inspect.getdoc(self.function) or "").partition("\n")[0]

    @cached_property
    def needs(self) -> tuple[str, ...]:
        """What it asks for, in its order."""
        named = inspect.signature(self.function).parameters.values()
        return tuple(p.name for p in named if p.kind is not p.KEYWORD_ONLY)

    @cached_property
    def params(self) -> Mapping[str, Any]:
        """Its options, with their defaults."""
        named = inspect.signature(self.function).parameters.values()
        return {p.name: p.default for p in named if p.kind is p.KEYWORD_ONLY}

    @cached_property
    def hints(self) -> Mapping[str, Any]:
        """The type of each option, with its range."""
        return get_type_hints(self.function, include_extras=True)

    def values(self, given: Mapping[str, Any], params: Mapping[str, Any]) -> tuple[np.ndarray, Curves]:
        """The values (n,) and curves of what is `given`, which has at least what it needs."""
        found = self.function(*(given[name] for name in self.needs), **params)
        values, curves = found if isinstance(found, tuple) else (found, {})
        return np.asarray(values, np.float64), curves


METRICS: dict[str, Metric] = {}


def metric(
    *,
    family: str,
    better: Better,
    low: float = -np.inf,
    high: float = np.inf,
    source: str,
    presets: Mapping[str, Mapping[str, Any]] | None = None,
    also: str = "",
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enter a function under its own name, with hyphens."""

    def enter(function: Callable[..., Any]) -> Callable[..., Any]:
        name = function.__name__.replace("_", "-")
        METRICS[name] = Metric(name, function, family, better, low, high, source, presets or {}, also)
        return function

    return enter


def find_metric(name: str) -> Metric:
    """The metric called `name`, underscores and capitals allowed; MethodError with the nearest name if there is none."""
    key = str(name).strip().lower().replace("_", "-")
    key = next((m.name for m in METRICS.values() if key == m.also), key)
    if key not in METRICS:
        hint = nearest(key, METRICS, "the list of `sightline metrics`")
        raise MethodError(f"metric {name!r} was given; expected one of {', '.join(sorted(METRICS))}.", hint)
    return METRICS[key]
