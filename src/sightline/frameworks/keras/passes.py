"""What every backend's pass is made of: the question, its arrays, the forward pass, and the passes kept for next time."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import islice
from typing import Any

import keras
from keras.src import backend

from sightline.arrays import Array
from sightline.errors import LayerError, ModelError, TargetError, nearest
from sightline.frameworks.keras.ends import Ends
from sightline.frameworks.keras.gate import Pass, entered, own_variables
from sightline.model import Bent, Edit, Place, Rule, RuleOf, places_of, scored_of

LOCK = threading.RLock()  # passes are traced one at a time
_KEPT = 32  # compiled passes of a model
_held: ContextVar[dict[int, Hashable] | None] = ContextVar("_held", default=None)
_passes: weakref.WeakKeyDictionary[keras.Model, OrderedDict[Hashable, Any]] = weakref.WeakKeyDictionary()


@dataclass(frozen=True)
class Ask:
    """What a pass is asked, without its arrays: a compiled pass can be used again for an equal one."""

    ends: Ends
    at: tuple[Place, ...] = ()
    functions: tuple[tuple[Place, Callable[[Array], Array]], ...] = ()  # edits by a function of the value
    replaced: tuple[Place, ...] = ()  # edits by an array
    score: Callable[..., Array] | None = None
    rule: Callable[..., Bent] | None = None
    scored: Place | tuple[Place, ...] | None = None  # whose value the score is of; None: the outputs

    @property
    def recorded(self) -> frozenset[Place]:
        """The places whose values are needed."""
        return frozenset((*self.at, *places_of(self.scored)))

    @property
    def differentiated(self) -> tuple[Place, ...]:
        """The places at which a gradient is asked."""
        return self.at if self.score is not None else ()


@dataclass(frozen=True)
class Arrays:
    """The arrays of a pass, images first."""

    x: Array
    others: Sequence[Array] = ()  # the other inputs
    edits: Sequence[Array] = ()
    target: Sequence[Array] = ()
    rule: Sequence[Array] = ()

    @property
    def flat(self) -> list[Array]:
        """All of them in a row."""
        return [self.x, *self.others, *self.edits, *self.target, *self.rule]

    def like(self, flat: Sequence[Array]) -> Arrays:
        """Other arrays in the places of these."""
        rest, parts = iter(flat[1:]), (self.others, self.edits, self.target, self.rule)
        return Arrays(flat[0], *(list(islice(rest, len(part))) for part in parts))


def edits(ask: Ask, arrays: Arrays) -> dict[Place, Edit]:
    """What to put in place of a value on the way."""
    return dict(ask.functions) | dict(zip(ask.replaced, arrays.edits))


def rule_of(ask: Ask, arrays: Arrays) -> Rule | None:
    """The rule, with its arrays."""
    return RuleOf(ask.rule, tuple(arrays.rule)) if ask.rule is not None and arrays.rule else ask.rule


def forward(model: keras.Model, ask: Ask, arrays: Arrays, watch: Pass) -> Array:
    """One forward pass in evaluation mode: the output that is explained, as the model gives it."""
    with entered(watch):
        fed = ask.ends.feed(model, watch.visit("", arrays.x), arrays.others)
        outputs = model(fed, training=False)
    return ask.ends.read(model, outputs)


def before_head(watch: Pass, outputs: Array) -> tuple[Array, str]:
    """The scores (n, ...) before a softmax or sigmoid at the end, and its kind; one score an image has its own axis."""
    scores, head = watch.before_head(outputs)
    return (backend.numpy.expand_dims(scores, -1) if len(scores.shape) == 1 else scores), head


def check_met(ask: Ask, watch: Pass) -> None:
    """LayerError for a place that the pass did not meet; ModelError for a rule that met nothing."""
    asked = [*sorted(ask.recorded), *(place for place, _ in ask.functions), *ask.replaced]
    for place in asked:
        if place not in watch.visited:
            known = [name for name, *_ in watch.met]
            raise LayerError(
                f"layer {place!r} was given; the model has none of that name.",
                nearest(place, known, "the list of layers"),
            )
    if ask.rule is not None and not watch.hits:
        name = getattr(ask.rule, "__name__", "given")
        raise ModelError(
            f"the backward rule {name!r} met none of its operations (ReLU) in this model; expected at least one.",
            "Explain this model by a method without a backward rule, such as gradient or integrated-gradients.",
        )


def scores(ask: Ask, outputs: Array, recorded: Mapping[Place, Array], arrays: Arrays) -> Array:
    """The target's scores (k, n), of the outputs or of a value on the way."""
    assert ask.score is not None
    score = ask.score(scored_of(ask.scored, outputs, recorded), *arrays.target)
    shape = tuple(score.shape)
    if len(shape) == 1:
        return backend.numpy.expand_dims(score, 0)
    if len(shape) != 2 or shape[0] is None:
        raise TargetError(
            f"the target gave scores of shape {shape}; expected (n,) or (k, n).", "Give one score for each image."
        )
    return score


def remembered(model: keras.Model, key: Hashable, make: Callable[[], Any]) -> Any:
    """What `make` gave for `model` and `key`, the latest few kept for as long as the model lives."""
    with LOCK:
        kept = _passes.setdefault(model, OrderedDict())
        if key not in kept:
            kept[key] = make()
        kept.move_to_end(key)
        while len(kept) > _KEPT:
            kept.popitem(last=False)
        return kept[key]


@contextmanager
def held() -> Iterator[None]:
    """Within it models are taken to stay as they are, but for the values of their weights."""
    outer = _held.get()
    token = _held.set({} if outer is None else outer)
    try:
        yield
    finally:
        _held.reset(token)


def fingerprint(model: keras.Model) -> Hashable:
    """What of a model a compiled pass cannot see change: its layers, their activations and which weights they have."""
    kept = _held.get()
    if kept is None:
        return _look(model)
    if id(model) not in kept:
        kept[id(model)] = _look(model)
    return kept[id(model)]


def _look(model: keras.Model) -> Hashable:
    return tuple(
        (weakref.ref(layer), getattr(layer, "activation", None), *map(id, own_variables(layer)))
        for layer in model._flatten_layers()
    )
