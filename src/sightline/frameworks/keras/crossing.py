"""What crosses a cut through a Keras model: values from before a place that what comes after it still needs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import keras
from keras.src.models.functional import Functional

from sightline.arrays import Array
from sightline.frameworks.keras.ends import Ends
from sightline.model import Place


@dataclass(frozen=True)
class Cut:
    """A cut after `place`: the places that hang on it, and those before it whose values cross."""

    place: Place
    after: frozenset[Place] = frozenset()
    crossing: tuple[Place, ...] = ()


@dataclass(frozen=True)
class Memory:
    """What passes of copies of some images share after a cut: the values that cross it."""

    cut: Cut
    values: Mapping[Place, Array] = field(repr=False)

    def serves(self, places: set[Place]) -> bool:
        """Whether all of `places` lie after the cut, so that none of them misses what came before."""
        return places <= self.cut.after | {self.cut.place}


def cut_after(model: keras.Model, place: Place) -> Cut:
    """The cut after a layer of a functional model; one that nothing is known to cross for any other model or place.

    The compiler leaves out what no value needs any more: of a trunk that a skip connection crosses nothing, unless the
    skipped value is given too.
    """
    nodes = nodes_of(model)
    names = Counter(node.operation.name for node in nodes)
    if names[place] != 1 or max(names.values()) > 1:  # nested, or called more than once
        return Cut(place)
    made = {id(t): node.operation.name for node in nodes for t in node.output_tensors}
    after: set[int] = set()
    crossing: dict[Place, None] = {}
    for node in nodes:
        if node.operation.name == place:
            after |= set(map(id, node.output_tensors))
        elif any(id(t) in after for t in node.input_tensors):
            after |= set(map(id, node.output_tensors))
            crossing |= dict.fromkeys(made[id(t)] for t in node.input_tensors if id(t) not in after)
    return Cut(place, frozenset(made[i] for i in after), tuple(crossing))


def nodes_of(model: keras.Model) -> list[Any]:
    """The calls of a functional model's operations, in the order in which they are made, but for the inputs."""
    model = getattr(model, "_functional", model)  # a Sequential keeps its own
    if not isinstance(model, Functional):
        return []
    by_depth = model._nodes_by_depth
    return [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth] if not node.is_input]


def beside(model: keras.Model, ends: Ends) -> set[str]:
    """The names of a functional model's operations of which the explained output is not made; none of another model's."""
    nodes = nodes_of(model)
    if not nodes or len(model.outputs) == 1:
        return set()
    needed = {id(ends.read(model, model._outputs_struct))}
    read = set()
    for node in reversed(nodes):
        if any(id(made) in needed for made in node.outputs):
            needed |= {id(given) for given in node.input_tensors}
            read.add(node.operation.name)
    return {node.operation.name for node in nodes} - read
