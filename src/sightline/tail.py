"""The rest of a model after a layer, as a model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from sightline.arrays import Array, tile
from sightline.memory import SHARES, innermost
from sightline.model import Edit, Layer, Model, Place, Rule, Target, Trace
from sightline.stream import passing


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
        """Values in a pass: where the images are spared, as many as weigh no more than a pass of these does."""
        if self.memory is None:
            return passing(self.model, self.x)
        share = getattr(self.model, "share", 1.0)  # a model that is no `Question` has never run out of memory
        return passing(self.model, self.x) * max(1, int(self._copies_for_one * share))

    @cached_property
    def memory(self) -> Any:
        """What the passes share."""
        return self.model.remember(self.x, self.layer.name)

    @cached_property
    def value(self) -> Array:
        """What the layer gives for the images, its own image: the pass that `memory` takes tells this too."""
        _ = self.memory
        return self.model.run(self.x, at=[self.layer.name]).values[self.layer.name]

    @cached_property
    def _copies_for_one(self) -> float:
        """How many values cost what an image does: its pass needs no less at any moment, and no less in all."""
        layers = [layer for layer in self.model.places(self.x) if not layer.attends]
        own = math.prod(self.layer.shape)
        after = [layer.name for layer in layers].index(self.layer.name) + 1
        whole, rest = _sizes(layers), [own, *_sizes(layers[after:])]
        held = getattr(self.memory, "held", 0)
        return min(_at_once(whole) / (_at_once(rest) + held), sum(whole) / (sum(rest) + held), SHARES)

    @property
    def computed(self) -> Mapping[str, str]:
        """How passes are computed, where the model tells."""
        return getattr(self.model, "computed", {})

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
        a, edits = _edited(a, edit or {})
        if isinstance(target, Target) and target.place == "":
            target = replace(target, place=self.layer.name)
        edits = {self.layer.name: a} | edits
        trace = self.model.run(x, at=list(inner.values()), edit=edits, target=target, rule=rule, memory=self.memory)
        values = {place: trace.values[name] for place, name in inner.items()}
        grads = {place: trace.grads[name] for place, name in inner.items() if name in trace.grads}
        return Trace(trace.outputs, trace.score, values, grads, trace.head)


def _edited(a: Array, edit: Mapping[Place, Edit]) -> tuple[Array, dict[Place, Edit]]:
    """What the layer gives after the edit of it, if there is one, and the edits of what comes later."""
    later = dict(edit)
    own = later.pop("", a)
    return own(a) if callable(own) else own, later


def _sizes(layers: Sequence[Layer]) -> list[int]:
    """How many values each of the layers gives for one image, those that hold others aside."""
    return [math.prod(layer.shape) for layer in innermost(layers)]


def _at_once(sizes: Sequence[int]) -> int:
    """How many values there are at most while a layer makes its own out of those before it."""
    return max(map(sum, zip(sizes, [*sizes[1:], 0])))
