"""A function mode that watches a pass: it remembers the head's input, and bends backward passes by a rule."""

from __future__ import annotations

import types as python_types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any, NoReturn

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from sightline.frameworks.torch.calls import (
    WEIGHTED,
    Args,
    Named,
    Ruled,
    again,
    call_again,
    in_place,
    inputs,
    loose,
    params,
    positional,
    pull_of,
)
from sightline.frameworks.torch.checkpoints import refuse_inside
from sightline.frameworks.torch.heads import head_of
from sightline.frameworks.torch.ops import CLAMP, KEEPING, KINDS, PASSING, RELU6, SHAPE, SIGMOID, SOFTMAX, Func, kind_of
from sightline.model import Back, Bent, Instead, Op, Outgoing, Refused, Rule, Through

_HEADS = SOFTMAX | SIGMOID
_FRESH = {"ReluBackward0", "HardtanhBackward0"}  # what these give is a tensor of its own
COMPOSITE: dict[Func, Func] = {  # one operation to the mode: its body, which does not ask the mode about itself
    f: python_types.FunctionType(
        f.__code__, {**f.__globals__, "has_torch_function": lambda _: False}, f.__name__, f.__defaults__
    )
    for f in (F.multi_head_attention_forward,)
}


class Watch(TorchFunctionMode):
    """Sees every form of an operation alike: module, function, method, in place, reused."""

    def __init__(self, rule: Rule | None = None) -> None:
        """`rule` bends the backward pass; None leaves it the derivative."""
        super().__init__()
        self.rule, self.hits, self.places = rule, 0, [""]
        self.rows: int | None = None  # the images of the pass
        self.kinds: frozenset[str] | None = getattr(rule, "kinds", None)  # None: all of them
        self.asked = None if rule is not None and self.kinds is None else _asked(self.kinds)  # None: every call
        self.met_head = False  # whether there was any softmax or sigmoid, at the end or not
        self._heads = WeakTensorKeyDictionary()  # what a softmax or sigmoid gave -> the Head
        self._made = WeakTensorKeyDictionary()  # what an operation with weights gave -> the operation
        self._deep = WeakTensorKeyDictionary()  # what lies behind one
        self._same = WeakTensorKeyDictionary()  # the image itself -> its version
        self._live = WeakTensorKeyDictionary()  # what hangs on the image, also where no graph is kept

    def __torch_function__(self, func: Func, types: Any, args: Args = (), kwargs: Named | None = None) -> Any:
        """One call of torch; the mode itself is off while it runs."""
        kwargs = kwargs or {}
        if self.asked is not None and func not in self.asked:
            return func(*args, **kwargs)
        before: Any = (args[0] if args else kwargs["input"]) if func in _HEADS else None
        if before is not None and func.__name__.endswith("_"):
            before = before.clone()  # it is about to be overwritten
        y = func(*args, **kwargs) if self.rule is None else self._ruled(self.rule, func, args, kwargs)
        if before is not None:
            self.met_head, self._heads[y] = True, head_of(func, before, args, kwargs)
        elif func in SHAPE and args and args[0] in self._heads:
            self._heads[y] = self._heads[args[0]].then(func, args[1:], kwargs)
        return y

    def start(self, image: torch.Tensor) -> torch.Tensor:
        """The image, as it goes into the model."""
        self._live[image], self._same[image], self.rows = True, _version(image), image.shape[0]
        return image

    def before_head(self, outputs: Any) -> tuple[Any, str]:
        """(the scores before a softmax or sigmoid at the end, its kind), or the outputs themselves and ""."""
        head = self._heads.get(outputs)
        return (head.scores, head.kind) if head is not None and head.ends else (outputs, "")

    def scores(self, outputs: Any) -> Any:
        """The scores at the end, which a rule sees as an operation that does nothing."""
        if self.rule is None or self.kinds is not None or not outputs.requires_grad:
            return outputs
        op = Op("output", "", lambda: (outputs.detach(),), {}, again(torch.clone, "output", (outputs,), {}))
        bent = self.rule(replace(op, before=self._known(outputs)))
        return outputs if bent is None else _bend(bent, torch.clone, op, (outputs,), lambda x: x.clone())

    def _ruled(self, rule: Rule, func: Func, args: Args, kwargs: Named) -> Any:
        kind, facts = kind_of(func, args, kwargs)
        if self.kinds is not None and kind not in self.kinds:
            return func(*args, **kwargs)
        if func in COMPOSITE:
            with self:
                return COMPOSITE[func](*args, **kwargs)
        marks = self._marks(kind, args, kwargs) if self.kinds is None else []
        y = self._known_kind(rule, kind, facts, func, args, kwargs) if kind else self._other(rule, func, args, kwargs)
        if func in KEEPING and args and self._is_image(args[0]):
            self._same[y] = _version(y)
        for mark in marks:
            mark.update((t, True) for t in _tensors(y))
        return y

    def _marks(self, kind: str, args: Args, kwargs: Named) -> list[WeakTensorKeyDictionary]:
        """What is to be remembered of what a call gives."""
        given = list(_tensors((args, kwargs)))
        live, deep = (any(t in mark for t in given) for mark in (self._live, self._deep))
        return [self._live] * live + [self._deep] * (deep or kind in WEIGHTED)

    def _known_kind(self, rule: Rule, kind: str, facts: Named, func: Func, args: Args, kwargs: Named) -> Any:
        args, kwargs = positional(kind, args, kwargs)
        xs = inputs(kind, args)
        if self.kinds is None and not any(x.requires_grad for x in xs):
            self.hits += 1
            return func(*args, **kwargs)
        op = self._op(kind, facts, func, args, kwargs, xs)
        bent = rule(op)
        if bent is None:
            y = func(*args, **kwargs)
        else:
            self.hits += 1
            written = in_place(func, args, kwargs)
            y = _bend(bent, func, op, xs, lambda *xs: call_again(func, kind, args, kwargs, xs, {}), written)
        if kind in WEIGHTED and self.kinds is None:
            self._made[y] = (op, y._version)
        return y

    def _op(self, kind: str, facts: Named, func: Func, args: Args, kwargs: Named, xs: tuple[torch.Tensor, ...]) -> Op:
        overwritten = kind not in WEIGHTED or in_place(func, args, kwargs)  # now, or by what follows
        values = loose(xs)

        def given() -> tuple[torch.Tensor, ...]:
            return tuple(x.clone() if overwritten else x for x in values)

        op = Op(kind, self.places[-1], given, facts, again(func, kind, loose(args), kwargs))
        if self.kinds is not None:
            return op
        return replace(
            op,
            pull=pull_of(func, kind, args, kwargs),
            params=facts | params(kind, func, args, kwargs),
            carries=tuple(x.requires_grad or x in self._live for x in xs),
            first=any(x in self._live and x not in self._deep for x in xs),
            of_image=self._is_image(xs[0]),
            rows=self.rows,
            before=self._known(xs[0]) if len(xs) == 1 else None,
            source=(xs, tuple(x._version for x in xs)) if kind in WEIGHTED else ((), ()),
        )

    def _is_image(self, x: torch.Tensor) -> bool:
        """Whether `x` is the image, and nothing was written into it."""
        return x in self._same and bool(self._same[x] == _version(x))

    def _known(self, x: torch.Tensor) -> Op | None:
        """The operation that gave `x`, where neither `x` nor what that was given has been overwritten since."""
        op, version = self._made.get(x, (None, 0))
        return op if op is not None and x._version == version and _untouched(op) else None

    def _other(self, rule: Rule, func: Func, args: Args, kwargs: Named) -> Any:
        """What has no kind can only be refused, or given another gradient coming in."""
        y = func(*args, **kwargs)
        carried = [t for t in _tensors(y) if t.requires_grad]
        if func in PASSING or not carried or not any(t.requires_grad for t in _tensors((args, kwargs))):
            return y
        name = getattr(func, "__name__", str(func))
        bent = rule(Op("other", self.places[-1], tuple, {"name": name}, lambda: (y, lambda g: ())))
        for t in carried:
            _refuse(bent, t)
        return y


def _version(t: torch.Tensor) -> int | None:
    """How often a tensor was written; None for one of inference mode, into which nobody can write here."""
    return None if t.is_inference() else t._version


@cache
def _asked(kinds: frozenset[str] | None) -> frozenset[Func]:
    """The calls that tell the head, and those of some kinds: all others are let through at once."""
    kinds = kinds or frozenset()
    bent = {func for func, kind in KINDS.items() if kind in kinds}
    limited = RELU6 | CLAMP if "relu" in kinds else set()
    return frozenset(_HEADS | SHAPE | bent | limited | set(COMPOSITE))


def _written(forward: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """`forward`, its result where its first argument was: whoever calls an operation in place may drop what it gives."""
    return lambda *xs: xs[0].copy_(forward(*xs))


def _tensors(given: Any) -> Iterator[torch.Tensor]:
    if isinstance(given, torch.Tensor):
        yield given
    elif isinstance(given, list | tuple):
        for item in given:
            yield from _tensors(item)
    elif isinstance(given, dict):
        yield from _tensors(list(given.values()))


def _untouched(op: Op) -> bool:
    """Whether the inputs of an operation, and of those before it, are still what they were."""
    xs, versions = op.source
    return all(x._version == v for x, v in zip(xs, versions)) and (op.before is None or _untouched(op.before))


def _refuse(bent: Bent, y: torch.Tensor) -> None:
    """Let an error wait for a gradient of `y`."""
    if isinstance(bent, Refused) and y.requires_grad:
        y.register_hook(partial(_raise, bent.error))


def _raise(error: Exception, gradient: torch.Tensor) -> NoReturn:
    raise error


def _bend(
    bent: Back | Instead | Outgoing | Through | Refused,
    func: Func,
    op: Op,
    xs: Sequence[torch.Tensor],
    call: Callable[..., torch.Tensor],
    overwrites: bool = False,
) -> torch.Tensor:
    """The operation with the backward pass that the rule gave."""
    refuse_inside()
    if isinstance(bent, Instead):
        result: torch.Tensor = Ruled.apply(
            _written(bent.forward) if overwrites else bent.forward, bent.back, op.kind, *xs
        )
    elif isinstance(bent, Through):
        with torch.no_grad():
            y = call(*xs)
        result = Ruled.apply(lambda *_: y, bent.back, bent.start.kind, *bent.start.source[0])
    elif isinstance(bent, Refused):
        result = call(*xs)
        _refuse(bent, result)
    elif isinstance(bent, Outgoing):
        result = _changed_derivative(bent, func, op, xs, call)
    else:
        result = Ruled.apply(call, bent, op.kind, *xs)
    return result


def _changed_derivative(
    bent: Outgoing, func: Func, op: Op, xs: Sequence[torch.Tensor], call: Callable[..., torch.Tensor]
) -> torch.Tensor:
    """torch's own derivative where that is the strict one: it costs nothing more, and what it gives may be overwritten."""
    if func in CLAMP or xs[0]._is_view():  # a clamp's derivative is 1 at its limits

        def back(y: torch.Tensor, grad_y: torch.Tensor) -> tuple[torch.Tensor]:
            return (bent.change(torch.where((y > 0) & (y < op.params["limit"]), grad_y, 0)),)

        changed: torch.Tensor = Ruled.apply(call, back, op.kind, *xs)
        return changed
    y = call(*xs)
    if y.requires_grad and type(y.grad_fn).__name__ in _FRESH:
        y.grad_fn.register_hook(lambda given, _: (bent.change(given[0]),))
    elif y.requires_grad:  # a ReLU's derivative is a mask: before it is as good as after it
        y.register_hook(lambda grad_y: bent.change(grad_y.clone()))
    return y
