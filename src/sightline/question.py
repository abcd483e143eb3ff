"""One question to a model: its targets are found in the very pass that answers, where that is possible."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sightline.arrays import Array
from sightline.errors import LayerError
from sightline.model import ATTENTION, Change, Edit, Layer, Model, Place, Row, Rule, Target, Trace
from sightline.scores import head_of
from sightline.settled import Facts, Settled, Wanted


@dataclass(frozen=True)
class Fixed:
    """A target that is known already, whatever the model answers: of images like those for which it was found."""

    target: Target

    def guess(self, x: Array) -> Target:
        """The target itself."""
        return self.target

    def settle(self, outputs: Array, head: str) -> Settled:
        """The target itself."""
        return Settled(lambda: self.target, [[{}] * outputs.shape[0]], True)


@dataclass(frozen=True)
class Asked:
    """Stands for the targets of a `Question` while a method runs, `times` copies of the images behind each other."""

    times: int = 1
    changes: tuple[Change, ...] = ()  # of the scores, one after the other

    def repeat(self, times: int) -> Asked:
        """The same question of that many copies."""
        return replace(self, times=self.times * times)

    def then(self, change: Change) -> Asked:
        """Another question of the same images, as `Target.then`."""
        return replace(self, changes=(*self.changes, change))

    def only(self, row: int) -> Asked:
        """One of the targets alone, as `Target.only`."""
        return self.then(Row(row))

    def put(self, target: Target) -> Target:
        """The question itself, once `target` is known."""
        target = target.repeat(self.times)
        for change in self.changes:
            target = target.then(change)
        return target


@dataclass
class Question:
    """A model that is asked about the images `x`: itself a model, so that a method runs on it as on any other.

    The first pass of `x` itself also tells which class is the highest, and whether the targets are there at all; a
    method that never passes `x` costs one bare forward pass more.
    """

    model: Model
    x: Array
    wanted: Wanted
    share: float = 1.0  # of what a pass may hold, for tails: see `sightline.memory.halved`
    told: str | None = None  # by the caller, of the model's head
    outputs: Array = None
    head: str = ""
    notes: tuple[str, ...] = ()
    _score: Array = None
    _settled: Settled | None = field(default=None, repr=False)
    _traces: list[Trace] = field(default_factory=list, repr=False)  # of passes of `x` itself

    @property
    def channel(self) -> int:
        """Axis of the image's channels."""
        return self.model.channel

    @property
    def chunk(self) -> int:
        """Images in a pass."""
        return self.model.chunk

    @property
    def quick(self) -> int | None:
        """Bytes up to which a layer's values are quick, where the model tells."""
        return getattr(self.model, "quick", None)

    @property
    def computed(self) -> Mapping[str, str]:
        """How passes are computed, where the model tells."""
        return getattr(self.model, "computed", {})

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
        memory: Any = None,
    ) -> Trace:
        """The model's own pass, the targets put in where a method asks with `Asked`."""
        asked = isinstance(target, Asked)
        itself = asked and not target.changes
        plain = x is self.x and not edit and rule is None and (itself or target is None)
        trace = self._known_trace(at, asked) if plain else None
        if trace is None:
            trace = self._run(x, at, edit, target, rule, memory)
            if plain and len(at) == 1:
                self._traces.append(trace)
        if len(at) == 1 and not edit:
            _check_rows(at[0], trace.values[at[0]], x.shape[0])
        return trace

    def _known_trace(self, at: Sequence[Place], asked: bool) -> Trace | None:
        """What an earlier pass has told already: another method's, or of the scores alone."""
        if self._settled is not None and asked and not at:
            return Trace(self.outputs, self.score(), head=self.head)
        told = (trace for trace in self._traces if set(at) <= set(trace.grads if asked else trace.values))
        return next(told, None) if at else None

    def _run(self, x: Array, at: Sequence[Place], edit: Any, target: Any, rule: Rule | None, memory: Any) -> Trace:
        asked = isinstance(target, Asked)
        itself = asked and not target.changes
        if self._settled is None and x is self.x and not edit:
            guess = self.wanted.guess(x) if asked else target
            if guess is not None or not asked:
                put = target.put(guess) if asked else target
                trace = self.model.run(x, at=at, target=put, rule=rule)
                if self._answer(trace, itself) or not asked:
                    return trace
        put = target.put(self.target()) if asked else target
        kept = {} if memory is None else {"memory": memory}
        return self.model.run(x, at=at, edit=edit, target=put, rule=rule, **kept)

    def remember(self, x: Array, place: Place) -> Any:
        """The model's own memory, whose pass of `x` answers as any other would; a note where it has none."""
        own = getattr(self.model, "remember", None)  # an adapter of the user's own may have none
        memory = own(x, place) if own else None
        if memory is None:
            self.notes += (f"each pass was made as a whole: nothing before {place!r} could be kept",)
        trace = getattr(memory, "trace", None)
        if trace is not None and x is self.x:
            if self._settled is None:
                self._answer(trace, False)
            self._traces.append(trace)
        return memory

    def target(self) -> Target:
        """The targets; by one bare pass, if none has told them yet."""
        return self._known().target

    def found(self) -> list[list[Facts]]:
        """For each target, what it is in each image."""
        return self._known().facts

    def score(self) -> Array:
        """What is explained, (k, n)."""
        if self._score is None and self.target().place is not None:
            self._score = self.model.run(self.x, target=self.target()).score
        if self._score is None:
            self._score = self.target()(self.outputs)
        return self._score

    def _known(self) -> Settled:
        if self._settled is None:
            self._answer(self.model.run(self.x), False)
        assert self._settled is not None
        return self._settled

    def _answer(self, trace: Trace, asked: bool) -> bool:
        """Settle the targets by the model's answer to the images themselves; whether they are as they were guessed."""
        self.outputs, self.head, self.notes = trace.outputs, head_of(trace.head, self.told), self.notes + trace.notes
        self._settled = self.wanted.settle(trace.outputs, self.head)
        self._score = trace.score if asked and self._settled.as_guessed else None
        return self._settled.as_guessed


def _check_rows(place: Place, value: Array, images: int) -> None:
    """LayerError where a layer alone was asked for, so to be explained, and has not one value for each image."""
    if value.shape[0] != images and not place.startswith("=") and ATTENTION not in place:
        raise LayerError(
            f"layer {place!r} was given; it has {value.shape[0]} maps for {images} images.",
            "Give the images one at a time, or take a layer with a map for each, as a backbone's have.",
        )
