"""One question to a model: its targets are found in the very pass that answers, where that is possible."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sightline.arrays import Array
from sightline.model import Edit, Layer, Model, Place, Rule, Target, Trace
from sightline.targets import (
    EachImage,
    Facts,
    NotRankedError,
    Ranked,
    Spec,
    as_target,
    function_facts,
    ranks_of,
    settle,
)


@dataclass(frozen=True)
class Asked:
    """Stands for the targets of a `Question` while a method runs, `times` copies of the images behind each other."""

    times: int = 1

    def repeat(self, times: int) -> Asked:
        """The same question of that many copies."""
        return Asked(self.times * times)


@dataclass
class Question:
    """A model that is asked about the images `x`: itself a model, so that a method runs on it as on any other.

    The first pass of `x` itself answers what "top" is; a method that never passes `x` costs one bare forward pass more.
    """

    model: Model
    x: Array
    specs: Sequence[Spec]  # a function stands alone
    labels: Sequence[str]
    outputs: Array = None
    head: str = ""
    found: list[list[Facts]] = field(default_factory=list)  # for each target, for each image
    _target: Target | None = None

    @property
    def channel(self) -> int:
        """Axis of the image's channels."""
        return self.model.channel

    @property
    def chunk(self) -> int:
        """Images in a pass."""
        return self.model.chunk

    def array(self, x: Any) -> Array:
        """`x` as the framework's own array."""
        return self.model.array(x)

    def places(self, x: Array) -> list[Layer]:
        """The model's layers."""
        return self.model.places(x)

    def run(
        self,
        x: Array,
        *,
        at: Sequence[Place] = (),
        edit: Mapping[Place, Edit] | None = None,
        target: Any = None,
        rule: Rule | None = None,
    ) -> Trace:
        """The model's own pass, the target put in where a method asks with `Asked`."""
        if not isinstance(target, Asked):
            return self.model.run(x, at=at, edit=edit, target=target, rule=rule)
        ranks = [ranks_of(spec) for spec in self.specs]
        unknown = self.outputs is None
        if unknown and x is self.x and not edit and all(ranks):
            try:
                order = Ranked(tuple(r for some in ranks for r in some or ()))
                trace = self.model.run(x, at=at, target=Target(order), rule=rule)
                self._answer(trace)
                return trace
            except NotRankedError:
                pass
        return self.model.run(x, at=at, edit=edit, target=self.settle().repeat(target.times), rule=rule)

    def settle(self) -> Target:
        """The targets; by one bare pass, if none has told them yet."""
        if self._target is None:
            self._answer(self.model.run(self.x))
        assert self._target is not None
        return self._target

    def score(self) -> Array:
        """What is explained, (k, n)."""
        return self.settle()(self.outputs)

    def _answer(self, trace: Trace) -> None:
        """Settle every target from the model's answer to the images themselves."""
        self.outputs, self.head = trace.outputs, trace.head
        if callable(self.specs[0]):
            self._target = Target(EachImage(self.specs[0]))
            self.found = [[function_facts(self.specs[0])] * self.x.shape[0]]
            return
        settled = [pair for spec in self.specs for pair in settle(spec, self.outputs, self.labels, self.head)]
        self.found = [facts for _, facts in settled]
        self._target = as_target(np.stack([weights for weights, _ in settled]), self.outputs)
