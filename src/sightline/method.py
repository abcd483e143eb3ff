"""The registry of methods: `@method` enters a function, with what it needs, costs and cites."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, get_type_hints

from sightline.arrays import Array
from sightline.errors import MethodError, nearest

Checks = dict[str, Array]  # a fact for each target and image: (k, n)


@dataclass(frozen=True)
class AtLeast:
    """The least value that an option may have."""

    low: float


Count = Annotated[int, AtLeast(1)]
Size = Annotated[float, AtLeast(0)]
Sides = Annotated[int | tuple[int, int], AtLeast(1)]  # of a square, or height and width: 5, "5x9", (5, 9)
Baselines = Annotated[Array, "several"]  # a tuple of what `baseline` gives one of
Names = Annotated[Any, "names"]  # of layers: "conv1,conv2", or a list; none for the method's own choice


@dataclass(frozen=True)
class Method:
    """A function over the seam and what must be known of it before it runs."""

    name: str
    function: Callable[..., Any]
    needs: frozenset[str]  # "gradient", "layer", "attention", "rule"
    family: str
    cost: str  # in bare passes: F forward, FB forward and backward
    source: str
    reduce: str  # how its channels become one number a pixel
    scale_free: bool  # whether its normalised map stays as it is when all scores are multiplied by a number

    @property
    def summary(self) -> str:
        """The first sentence of its docstring."""
        return (inspect.getdoc(self.function) or "").partition("\n")[0]

    @cached_property
    def params(self) -> Mapping[str, Any]:
        """The options of the method itself, with their defaults."""
        named = inspect.signature(self.function).parameters.values()
        return {p.name: p.default for p in named if p.kind is p.KEYWORD_ONLY and p.name != "layer"}

    @cached_property
    def hints(self) -> Mapping[str, Any]:
        """The type of each option, with its range."""
        return get_type_hints(self.function, include_extras=True)

    def base(self, params: Mapping[str, Any]) -> Method:
        """The method that a wrapper was asked to wrap; any other method is its own base."""
        return find(params.get("of", self.params["of"])) if "of" in self.params else self

    def takes(self, option: str, params: Mapping[str, Any]) -> bool:
        """Whether `option` is one of its own, or of the method that it wraps."""
        return option in self.params or option in self.base(params).params

    def attribute(self, *args: Any, **params: Any) -> tuple[Array, Checks]:
        """The attribution (k, n, ...) and what a reader should know of it."""
        found = self.function(*args, **params)
        return found if isinstance(found, tuple) else (found, {})


METHODS: dict[str, Method] = {}


def method(
    *needs: str, family: str, cost: str, source: str, reduce: str = "sum", scale_free: bool = True
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enter a function under its own name, with hyphens."""

    def enter(function: Callable[..., Any]) -> Callable[..., Any]:
        name = function.__name__.replace("_", "-")
        METHODS[name] = Method(name, function, frozenset(needs), family, cost, source, reduce, scale_free)
        return function

    return enter


def find(name: str) -> Method:
    """The method called `name`, underscores and capitals allowed; MethodError with the nearest name if there is none."""
    key = str(name).lower().replace("_", "-")
    if key not in METHODS:
        hint = nearest(key, METHODS, "the list of `sightline methods`")
        if all(part.strip() in METHODS for part in key.split(",")):
            hint = "Give several as a list: method=[...], or --method once for each."
        raise MethodError(f"method {name!r} was given; expected one of {', '.join(sorted(METHODS))}.", hint)
    return METHODS[key]
