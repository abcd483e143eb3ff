"""A model with other weights: a wrapper whose every pass is run with them, so that the model stays as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sightline.arrays import Array, like, to_numpy
from sightline.errors import ModelError
from sightline.model import Edit, Layer, Model, Place, Rule, Target, Trace

Layers = list[tuple[str, tuple[Place, ...]]]  # each layer's name, and the places of its parameters


@dataclass(frozen=True)
class Stage:
    """Which layers are random: their parameters' places, their name, and how many they are."""

    name: str
    count: int
    places: frozenset[Place]


@dataclass(frozen=True)
class Randomised:
    """`model` with `weights` in the places of its own."""

    model: Model
    weights: Mapping[Place, Array]
    chunk: int

    @property
    def channel(self) -> int:
        """Axis of the image's channels."""
        return self.model.channel

    @property
    def computed(self) -> Mapping[str, str]:
        """How the model's passes are computed, where it tells."""
        return getattr(self.model, "computed", {})

    @property
    def others(self) -> Any:
        """The other inputs of the model, which belong to the images."""
        return getattr(self.model, "others", None)

    def array(self, x: Any) -> Array:
        """`x` as the framework's own array."""
        return self.model.array(x)

    def places(self, x: Array) -> list[Layer]:
        """The model's layers."""
        return self.model.places(x)

    def remember(self, x: Array, place: Place) -> None:
        """Nothing: the model's own memory is of its own weights."""

    def run(
        self,
        x: Array,
        *,
        at: Sequence[Place] = (),
        edit: Mapping[Place, Edit] | None = None,
        target: Target | None = None,
        rule: Rule | None = None,
        memory: Any = None,
    ) -> Trace:
        """A pass with the other weights."""
        return self.model.run(x, at=at, edit={**(edit or {}), **self.weights}, target=target, rule=rule)


def parameters_of(model: Any, x: Array) -> Layers:
    """The layers with parameters in the order of a pass; ModelError where the model does not tell them, or has none."""
    tell = getattr(model, "parameters", None)
    layers: Layers = tell(x) if tell else []
    if not any(places for _, places in layers):
        raise ModelError(
            f"a {type(model).__name__} was given, in which no parameter can be replaced; the check makes them random.",
            "Give a torch.nn.Module or a Keras model with weights.",
        )
    return layers


def stages_of(layers: Layers, stages: int, *, alone: bool) -> list[Stage]:
    """The layers from the top in so many parts of about equal number: each with all before it, or `alone`."""
    top = [(name, places) for name, places in reversed(layers) if places]
    parts = min(stages, len(top))
    ends = [-(-len(top) * i // parts) for i in range(parts + 1)]  # rounded up, so that half is at least half
    starts = ends[:-1] if alone else [0] * parts
    return [_stage(top[start:end], alone) for start, end in zip(starts, ends[1:])]


def _stage(layers: Layers, alone: bool) -> Stage:
    """Named after its last layer, and where there is none before it, after its first too."""
    first, last = layers[0][0], layers[-1][0]
    name = f"{first} to {last}" if alone and first != last else last
    return Stage(name, len(layers), frozenset(place for _, places in layers for place in places))


def own_weights(model: Model, x: Array, layers: Layers) -> dict[Place, Array]:
    """The value of every parameter."""
    places = [place for _, each in layers for place in each]
    values = model.run(x[:1, ...], at=places).values
    return {place: values[place] for place in places}  # in their order, which a compiled pass may not keep


def drawn(own: Mapping[Place, Array], random_state: int) -> dict[Place, Array]:
    """Normal draws with the mean and the standard deviation of each parameter: its scale is kept, and nothing else.

    A single number has its own size for a deviation. The draw of a parameter depends on `random_state` and on its place
    in the order alone.
    """
    return {place: _drawn(value, random_state, i) for i, (place, value) in enumerate(own.items())}


def _drawn(value: Array, random_state: int, i: int) -> Array:
    values = to_numpy(value).astype(np.float64)
    draw = np.random.default_rng([random_state, i]).standard_normal(values.shape)
    spread = values.std() if values.size > 1 else np.abs(values)
    return like(np.asarray(values.mean() + spread * draw), value)
