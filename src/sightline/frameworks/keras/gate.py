"""The gate: how a pass of ours sees, and changes, what a Keras model does.

It stands around the functions that every Keras operation goes through, for the whole process, and asks a thread-local
whether this thread is inside a pass of ours; if not, it calls the original. Nothing is ever set on a model or layer.
"""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial, wraps
from typing import Any

import keras
from keras.src import backend, tree
from keras.src.activations.activations import ReLU
from keras.src.ops.operation import Operation

from sightline.arrays import Array
from sightline.frameworks.keras.backs import as_back, given_again
from sightline.model import Back, Edit, Instead, Op, Outgoing, Place, Rule, Through

_local = threading.local()
_operate = Operation.__call__
_rectify: Callable[..., Array] = ReLU.static_call
_RESHAPING = {"Reshape", "Flatten", "Permute", "Squeeze", "ExpandDims", "Transpose", "GetItem", "Cast", "Identity"}


@dataclass(frozen=True)
class Engine:
    """What the gate needs of a backend."""

    level: Callable[[], Any]
    """Which trace is being built: whatever happens inside a function that the user compiled is not ours to touch."""
    vjp: Callable[..., tuple[Array, Callable[[Array], tuple[Array, ...]]]]  # (function, *args) -> y, pull
    bend: Callable[..., Array]
    """`bend(forward, back_of, *xs)`: `forward(*xs)`, with `back_of(*xs)` for its backward pass."""
    detach: Callable[[Array], Array] = lambda a: a  # a value whose gradient is not asked
    mark: Callable[[], AbstractContextManager[Any]] = nullcontext  # stands around what the gate has seen
    seen: Callable[[Array], Array] = lambda y: y  # notes that a rule was asked of the ReLU that gave this
    biased: Callable[[Array, Array, bool], Array] | None = None
    """What a convolution gave and a bias (channels first or not), where batch norms are folded into convolutions."""


@dataclass
class Pass:
    """One pass: what to watch, and what was met."""

    engine: Engine
    at: frozenset[Place] = frozenset()
    edit: Mapping[Place, Edit] = field(default_factory=dict)
    record: Callable[[Place, Array], Array] = lambda place, value: value  # keeps a value, gives what goes on instead
    rule: Rule | None = None
    met: list[tuple[Place, Operation, tuple[int, ...]]] = field(default_factory=list)
    visited: set[Place] = field(default_factory=set)
    heads: list[tuple[Array, Array, str]] = field(default_factory=list)  # (probabilities, scores, kind)
    hits: int = 0  # operations that took a backward rule
    folded: bool = False  # a batch norm was done together with the convolution before it
    level: Any = None
    inside: Operation | None = None  # the innermost operation, its place, and the names down to it
    place: Place = ""
    names: tuple[str, ...] | None = None
    calls: Counter[str] = field(default_factory=Counter)

    def operate(self, op: Operation, args: Any, kwargs: Any) -> Any:
        """An operation of the model, with its input and output open to the pass."""
        if self.names is None:  # the model itself
            self.names = ()
            return _operate(op, *args, **kwargs)
        outer = self.inside, self.place, self.names
        place = self._arrive(op)
        try:
            self._open_parameters(op, place)
            args, kwargs = self._first((args, kwargs), partial(self.visit, f":{place}"), f":{place}")
            outputs = self.call(op, args, kwargs)
        finally:
            self.inside, self.place, self.names = outer
        if type(op).__name__ in _RESHAPING:
            self._reshape_head(op, args, kwargs, outputs)
        return self._first(outputs, partial(self._leave, op, place))

    def call(self, op: Operation, args: Any, kwargs: Any) -> Any:
        """What the operation does."""
        return _operate(op, *args, **kwargs)

    def _arrive(self, op: Operation) -> Place:
        """Go into `op`; a place is named after its path, and from the second call on also after its number."""
        assert self.names is not None
        names = (*self.names, op.name)
        path = "/".join(names)
        self.calls[path] += 1
        place = path if self.calls[path] == 1 else f"{path}:{self.calls[path]}"
        self.inside, self.place, self.names = op, place, names
        return place

    def _open_parameters(self, op: Operation, place: Place) -> None:
        """Open the layer's own weights to the pass, by the scope that stands before them."""
        for variable in own_variables(op):
            name = f"={place}/{variable.name}"
            if name in self.at or name in self.edit:
                backend.get_stateless_scope().state_mapping[id(variable)] = self.visit(name, variable.value)

    def _leave(self, op: Operation, place: Place, value: Array) -> Array:
        self.met.append((place, op, tuple(value.shape)))
        return self.visit(place, value)

    def _first(self, structure: Any, change: Callable[[Array], Array], only: Place | None = None) -> Any:
        """`structure` with its first tensor changed."""
        if only is not None and only not in self.at and only not in self.edit:
            return structure
        if backend.is_tensor(structure):
            return change(structure)
        flat = tree.flatten(structure)
        index = next((i for i, leaf in enumerate(flat) if backend.is_tensor(leaf)), None)
        if index is None:
            return structure
        flat[index] = change(flat[index])
        return tree.pack_sequence_as(structure, flat)

    def visit(self, place: Place, value: Array) -> Array:
        """What goes on from `place`: the value, or what stands in its place, recorded if wanted."""
        if place in self.edit:
            edit = self.edit[place]
            new = edit(value) if callable(edit) else edit
            value = backend.convert_to_tensor(new, dtype=backend.standardize_dtype(value.dtype))
            self.visited.add(place)
        if place in self.at:
            self.visited.add(place)
            recorded = self.record(place, value)
            self.heads += [(recorded, scores, kind) for y, scores, kind in self.heads if y is value]
            value = recorded
        return value

    def before_head(self, outputs: Array) -> tuple[Array, str]:
        """The scores from which `outputs` were made, and by what; else `outputs` themselves."""
        return next(((scores, kind) for y, scores, kind in reversed(self.heads) if y is outputs), (outputs, ""))

    def _reshape_head(self, op: Operation, args: Any, kwargs: Any, outputs: Any) -> None:
        """What only changes the shape of probabilities changes that of their scores alike."""
        scores, kind = self.before_head(args[0]) if args else (None, "")
        alone = type(op).__name__ == "GetItem" and outputs.shape[:2] != args[0].shape[:2]
        if kind == "sigmoid" or (kind and not alone):  # one of a softmax's classes alone has no score of its own
            with suspended(self.engine):
                self.heads.append((outputs, _operate(op, scores, *args[1:], **kwargs), kind))

    def rectify(self, x: Array, max_value: float | None, threshold: float) -> Array:
        """A ReLU of `x`, by the pass's rule."""
        engine = self.engine  # what a backward pass holds must not hold the pass

        def forward(x: Array, limit: float) -> Array:
            with suspended(engine):
                return _rectify(x, max_value=None if limit == math.inf else limit, threshold=threshold)

        limit = math.inf if max_value is None else float(max_value)

        def again(x: Array, limit: float = limit) -> tuple[Array, Callable[[Array], tuple[Array, ...]]]:
            return engine.vjp(partial(forward, limit=limit), x)

        op = Op("relu", self.place, lambda: (x,), {"limit": limit}, again, before=self.known(x))
        return self.bent(op, (x,), partial(forward, limit=limit))

    def known(self, x: Array) -> Op | None:
        """The operation with weights that gave `x`."""
        return None

    def bent(self, op: Op, xs: tuple[Array, ...], forward: Callable[..., Array]) -> Array:
        """`forward` of the operation's arguments, with the backward pass that the rule gives it."""
        assert self.rule is not None
        rule, found = self.rule, self.rule(op)
        if found is None:
            return forward(*xs)
        self.hits += op.kind != "output"
        if isinstance(found, Outgoing) and op.kind == "relu":  # its derivative is a mask: before it is as good as after
            change = found.change
            changed = lambda _: lambda y, grad_y: (change(backend.numpy.copy(grad_y)),)  # noqa: E731  it may overwrite
            return self.engine.bend(lambda y: y, changed, self.engine.seen(forward(*xs)))
        if not isinstance(found, Through):
            call = found.forward if isinstance(found, Instead) else forward
            return self.engine.bend(call, lambda *xs: as_back(rule(replace(op, given=lambda: xs)), op, xs), *xs)
        y, start = self.engine.detach(forward(*xs)), found.start.source
        count = len(start)

        def back_of(*both: Array) -> Back:
            again = rule(given_again(op, both[count:], found.start.source, both[:count]))
            assert isinstance(again, Through)
            return lambda y, grad_y: (*again.back(y, grad_y), *(backend.numpy.zeros_like(x) for x in both[count:]))

        return self.engine.bend(lambda *_: y, back_of, *start, *xs)


def own_variables(op: Operation | None) -> list[Any]:
    """The weights of a layer that belong to none of the layers inside it."""
    return [*getattr(op, "_trainable_variables", ()), *getattr(op, "_non_trainable_variables", ())]


def current() -> Pass | None:
    """The pass that this thread is inside of, unless it is tracing a compiled function of the user's."""
    found: Pass | None = getattr(_local, "current", None)
    return found if found is not None and found.level == found.engine.level() else None


@contextmanager
def entered(new: Pass | None) -> Iterator[None]:
    """Be inside the pass, on this thread."""
    outer = getattr(_local, "current", None)
    if new is not None:
        new.level = new.engine.level()
    _local.current = new
    try:
        yield
    finally:
        _local.current = outer


@contextmanager
def suspended(engine: Engine) -> Iterator[None]:
    """Be outside of the pass for a while."""
    with entered(None), engine.mark():
        yield


@wraps(_operate)
def _gated_operation(self: Operation, *args: Any, **kwargs: Any) -> Any:
    found = current()
    if found is None or backend.any_symbolic_tensors(args, kwargs):
        return _operate(self, *args, **kwargs)
    return found.operate(self, args, kwargs)


@wraps(_rectify)
def _gated_rectifier(
    x: Array, negative_slope: float = 0.0, max_value: float | None = None, threshold: float = 0.0
) -> Array:
    found = current()
    if found is None or found.rule is None:
        return _rectify(x, negative_slope, max_value, threshold)
    if negative_slope or threshold < 0 or isinstance(found.inside, keras.layers.PReLU):  # leaky: not a ReLU
        with suspended(found.engine):
            return _rectify(x, negative_slope, max_value, threshold)
    return found.rectify(backend.convert_to_tensor(x), max_value, threshold)


def _gated_relu(original: Callable[[Array], Array], max_value: float | None) -> Callable[[Array], Array]:
    @wraps(original)
    def relu(x: Array) -> Array:
        found = current()
        return original(x) if found is None or found.rule is None else found.rectify(x, max_value, 0.0)

    return relu


def _gated_whole(original: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """An activation that is no ReLU, though a backend makes it of one."""

    @wraps(original)
    def whole(x: Array) -> Array:
        found = current()
        if found is None or found.rule is None:
            return original(x)
        with suspended(found.engine):
            return original(x)

    return whole


def _gated_head(original: Callable[..., Array], kind: str) -> Callable[..., Array]:
    @wraps(original)
    def head(x: Array, *args: Any, **kwargs: Any) -> Array:
        y = original(x, *args, **kwargs)
        found = current()
        if found is not None:
            found.heads.append((y, x, kind))
        return y

    return head


def _install() -> None:
    nn = backend.nn
    Operation.__call__ = _gated_operation
    ReLU.static_call = staticmethod(_gated_rectifier)
    nn.relu, nn.relu6 = _gated_relu(nn.relu, None), _gated_relu(nn.relu6, 6.0)
    nn.hard_sigmoid, nn.hard_silu = _gated_whole(nn.hard_sigmoid), _gated_whole(nn.hard_silu)
    for name, kind in {"softmax": "softmax", "log_softmax": "softmax", "sigmoid": "sigmoid"}.items():
        setattr(nn, name, _gated_head(getattr(nn, name), kind))


_install()
