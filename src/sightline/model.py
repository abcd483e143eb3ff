"""The seam: what a method sees of a model, whatever the framework."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from sightline.arrays import Array, namespace, tile

Place = str
"""Where in a model: "" the image, "layer4.2" an output, ":layer4.2" an input, "layer4:2" the second call,
"=fc.weight" a parameter, "attn#attention" the probabilities (n, heads, tokens, tokens) of the attention in a layer."""

ATTENTION = "#attention"

Edit = Array | Callable[[Array], Array]  # what stands at a place instead of its value


def rows_of(edit: Mapping[Place, Any]) -> int:
    """How many rows the first edit has: an array, where a memory is used."""
    return int(next(iter(edit.values())).shape[0])


@dataclass(frozen=True)
class Layer:
    """A place that a method may use, as one pass showed it."""

    name: Place
    kind: str
    shape: tuple[int, ...]  # of one image
    channel: int = -1  # axis of the channels, counted from the end
    weighted: bool = False  # it has parameters of its own
    parameters: tuple[Place, ...] = ()  # the places of these
    activation: str = ""  # the activation that it applies itself, "relu", after its weights if it has any
    tokens: tuple[int, int] | None = None  # rows and columns of a shape (tokens, channels); others come before them
    dead: bool = False  # no map for a CAM: windows, or a grid none of whose cells the score hangs on
    unread: bool = False  # the score hangs on nothing of it: of what it gives another part is read
    made_by: weakref.ref[Any] | None = field(default=None, repr=False, compare=False)

    @property
    def object(self) -> Any:
        """The framework's own layer, for as long as it lives."""
        return self.made_by and self.made_by()

    @property
    def attends(self) -> bool:
        """Whether it is the probabilities of an attention."""
        return ATTENTION in self.name

    @property
    def grid(self) -> tuple[int, int] | None:
        """Height and width of the feature map; None where the layer has none."""
        if len(self.shape) != 3 or self.attends:
            return self.tokens
        height, width = (side for axis, side in enumerate(self.shape) if axis - 3 != self.channel)
        return (height, width) if height * width > 1 else None

    def spatial(self, a: Array) -> Array:
        """`a` (..., *shape) with its axes in the order (..., height, width, channels)."""
        if self.tokens is None:
            return a if self.channel == -1 else namespace(a).moveaxis(a, self.channel, -1)
        grid = a[..., self.extra :, :]
        return namespace(a).reshape(grid, (*grid.shape[:-2], *self.tokens, grid.shape[-1]))

    @property
    def extra(self) -> int:
        """Tokens that are no cells of the grid: of the class, of a teacher, registers."""
        return self.shape[0] - math.prod(self.tokens) if self.tokens else 0

    def upon(self, masks: np.ndarray) -> np.ndarray:
        """Masks (..., height, width) as they meet values of the layer: with an axis of channels, other tokens kept."""
        if self.tokens is None:
            return np.expand_dims(masks, self.channel)
        cells = masks.reshape(*masks.shape[:-2], -1, 1)
        return np.concatenate([np.ones((*cells.shape[:-2], self.extra, 1)), cells], axis=-2)


@dataclass(frozen=True)
class Op:
    """One operation of a pass, as a backward rule sees it."""

    kind: str
    """"relu", "conv", "linear", "norm", "pool", "add", "matmul", "softmax", ...; "output" for the scores themselves, at
    the end; "other" for what has no kind, its name in `params`."""
    place: Place  # the layer in which it happens
    given: Callable[[], tuple[Array, ...]] = field(repr=False)
    params: Mapping[str, Any]
    again: Callable[..., tuple[Array, Callable[[Array], tuple[Array, ...]]]]
    """`again(*args, **params) -> y, pull`: the operation once more with other values; `pull(grad_y)` gives the
    derivative's gradients of its args."""
    carries: tuple[bool, ...] = (True,)  # for each of the args, whether it hangs on the image
    first: bool = False  # no operation with weights stands between it and the image
    of_image: bool = False  # what it is given is the image itself, at most in another precision
    rows: int | None = None  # the images of the pass, where the adapter tells
    before: Op | None = None  # the operation that gave it its one input, where that is known
    source: Any = field(default=None, repr=False)  # the adapter's own
    pull: Callable[..., tuple[Array, ...]] | None = None
    """`pull(grad_y, **params)`: the derivative's gradients alone, where they need no pass forward; None: by `again`."""

    @cached_property
    def args(self) -> tuple[Array, ...]:
        """What it was given. An operation in place overwrites it: a rule that needs it must ask before it returns."""
        return self.given()

    def pulled(self, grad_y: Array) -> tuple[Array, ...]:
        """The derivative's gradients of what it was given."""
        return self.pull(grad_y) if self.pull else self.again(*self.args)[1](grad_y)


Back = Callable[[Array, Array], tuple[Array, ...]]  # (y, grad_y) -> a gradient for each of the operation's args


@dataclass(frozen=True)
class Instead:
    """Another operation in the place of one: what it gives, and its backward pass."""

    forward: Callable[..., Array]  # (*args) -> y
    back: Back


@dataclass(frozen=True)
class Outgoing:
    """The operation's own derivative, changed: `change(gradient)`, which may overwrite what it is given."""

    change: Callable[[Array], Array]


@dataclass(frozen=True)
class Refused:
    """No backward pass: an error, if one comes to this operation."""

    error: Exception


@dataclass(frozen=True)
class Through:
    """A backward pass through the operations from `start` to this one: gradients of the args of `start`."""

    back: Back
    start: Op  # the operation before this one, or one before that


Bent = Back | Instead | Outgoing | Through | Refused | None  # None: the derivative
Rule = Callable[[Op], Bent]
"""The same object for the same rule, so that a compiled pass can be used again. A rule with an attribute `kinds` is
asked of operations of these kinds only, and told no place."""


@dataclass(frozen=True)
class RuleOf:
    """A rule that needs arrays, images first: `rule(op, *arrays)`."""

    rule: Callable[..., Bent]
    arrays: tuple[Array, ...]

    def __call__(self, op: Op) -> Bent:
        """What the rule makes of the operation."""
        return self.rule(op, *self.arrays)


@dataclass(frozen=True)
class Trace:
    """What one pass left behind, on the model's own device."""

    outputs: Array  # before any softmax or sigmoid
    score: Array = None  # (k, n): what was explained, k targets of n images
    values: Mapping[Place, Array] = field(default_factory=dict)
    grads: Mapping[Place, Array] = field(default_factory=dict)  # (k, n, ...): gradient of the score
    head: str = ""  # "softmax" or "sigmoid" where the model ends in one
    notes: tuple[str, ...] = ()  # what the adapter chose by itself, for the answer
    unread: frozenset[Place] = frozenset()  # where nothing leads from the value to the score, if the adapter can tell


Change = Callable[[Array, Array], Array]  # (outputs, scores) -> other scores


@dataclass(frozen=True)
class Then:
    """What a target scores, and what is made of it; equal for equal parts, so that a compiled pass is used again."""

    score: Callable[..., Array]
    change: Change

    def __call__(self, outputs: Array, *arrays: Array) -> Array:
        """The changed scores (k, n)."""
        return self.change(outputs, self.score(outputs, *arrays))


@dataclass(frozen=True)
class Target:
    """What is explained: `score(outputs, *arrays)` gives (k, n), k scores of n images.

    `score` is the same object for the same question, so that a compiled pass can be used again; whatever differs
    from image to image is in `arrays`, images first. With a `place`, the score is of the value there instead of the
    outputs: of a channel, say, or an embedding. With several places, it is of a tuple of the values there.
    """

    score: Callable[..., Array]
    arrays: tuple[Array, ...] = ()
    place: Place | tuple[Place, ...] | None = None

    def __call__(self, outputs: Any) -> Array:
        """The scores (k, n) of `outputs`, or of what is at the place or places."""
        return self.score(outputs, *self.arrays)

    def repeat(self, times: int) -> Target:
        """The same question of `times` copies of the images, behind each other."""
        return replace(self, arrays=tuple(tile(a, times) for a in self.arrays))

    def then(self, change: Change) -> Target:
        """Another question of the same images: its scores (k, n) are what `change(outputs, scores)` gives."""
        return replace(self, score=Then(self.score, change))

    def only(self, row: int) -> Target:
        """One of the k scores, as a target of its own."""
        return self.then(Row(row))


def places_of(scored: Place | tuple[Place, ...] | None) -> tuple[Place, ...]:
    """The places whose values a target scores; none where it scores the outputs."""
    return () if scored is None else (scored,) if isinstance(scored, str) else scored


def scored_of(scored: Place | tuple[Place, ...] | None, outputs: Array, values: Mapping[Place, Array]) -> Any:
    """What a target scores: the outputs, the value at its place, or a tuple of those at all of its places."""
    if isinstance(scored, tuple):
        return tuple(values[place] for place in scored)
    return outputs if scored is None else values[scored]


@dataclass(frozen=True)
class Row:
    """One of the scores of a target; equal for an equal question."""

    row: int

    def __call__(self, outputs: Array, scores: Array) -> Array:
        """The scores (1, n)."""
        return scores[self.row : self.row + 1, ...]


def is_rough(model: Any, value: Array) -> bool:
    """Whether passes of the model round more than float32 does, where the adapter tells; else whether a `value` of one
    is in half precision.
    """
    precision = getattr(model, "computed", {}).get("precision", str(value.dtype))
    return "16" in precision or "tf32" in precision


def held(model: Any) -> AbstractContextManager[Any]:
    """Within it an adapter may take the model to stay as it is, and look only once."""
    own = getattr(model, "held", None)  # an adapter of the user's own may have none
    return own() if own else nullcontext()


class Model(Protocol):
    """A model of any framework: one primitive, `run`."""

    @property
    def channel(self) -> int:
        """Axis of the image's channels, counted from the end."""

    @property
    def chunk(self) -> int:
        """Images in a pass."""

    def array(self, x: Any) -> Array:
        """`x` as the framework's own array, in the model's precision and on its device."""

    def places(self, x: Array) -> list[Layer]:
        """The layers that give an array, in the order in which a pass of `x` meets them; the image is the first."""

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
        """One forward pass; given a target and places, also one backward pass from each of its scores.

        `at` names the places to record, `edit` what to put in place of a value on the way, `rule` the operations
        whose backward pass is not the derivative. With a `memory` of `x`, the first edit holds the values of copies of
        these images, behind each other, and what comes before it need not be done again.
        """

    def remember(self, x: Array, place: Place) -> Any:
        """A memory of all that passes of copies of `x` share when the value at `place` is given; None where the whole
        pass must be done each time."""
