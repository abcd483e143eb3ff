"""The rest of a model after a layer, as a model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from sightline.arrays import Array, tile
from sightline.model import Edit, Layer, Model, Place, Rule, Target, Trace


@dataclass(frozen=True)
class Tail:
    """The rest of `model` after `layer`, on the images `x`: itself a model, whose image is the layer's output."""

    model: Model
    layer: Layer
    x: Array

    @property
    def channel(self) -> int:
        """Axis of the layer's channels."""
        return self.layer.channel

    @property
    def chunk(self) -> int:
        """Values in a pass: as many as weigh what the largest value of the images does, where that is spared."""
        return self.model.chunk * self._copies_for_one if self.memory is not None else self.model.chunk

    @cached_property
    def memory(self) -> Any:
        """What the passes share."""
        return self.model.remember(self.x, self.layer.name)

    @cached_property
    def _copies_for_one(self) -> int:
        sizes = [math.prod(layer.shape) for layer in self.model.places(self.x) if not layer.attends]
        return max(1, min(max(sizes) // math.prod(self.layer.shape), 16))

    def array(self, x: Any) -> Array:
        """`x` as the framework's own array."""
        return self.model.array(x)

    def remember(self, a: Array, place: Place) -> Any:
        """Nothing: a tail of a tail is the tail of the model."""

    def places(self, a: Array) -> list[Layer]:
        """The layer itself as the image, and what comes after it."""
        layers = self.model.places(self.x)
        after = [layer.name for layer in layers].index(self.layer.name) + 1
        image = Layer("", "input", self.layer.shape, self.layer.channel)
        return [image, *layers[after:]]

    def run(
        self,
        a: Array,
        *,
        at: Sequence[Place] = (),
        edit: Mapping[Place, Edit] | None = None,
        target: Target | None = None,
        rule: Rule | None = None,
        memory: Any = None,
    ) -> Trace:
        """A pass in which the layer gives `a`; what comes before is done once, where that can be."""
        x = self.x if self.memory is not None else tile(self.x, a.shape[0] // self.x.shape[0])
        inner = {place: place or self.layer.name for place in at}
        edits = {place or self.layer.name: value for place, value in (edit or {}).items()}
        if isinstance(target, Target) and target.place == "":
            target = replace(target, place=self.layer.name)
        edits = {self.layer.name: a} | edits
        trace = self.model.run(x, at=list(inner.values()), edit=edits, target=target, rule=rule, memory=self.memory)
        values = {place: trace.values[name] for place, name in inner.items()}
        grads = {place: trace.grads[name] for place, name in inner.items() if name in trace.grads}
        return Trace(trace.outputs, trace.score, values, grads, trace.head)
