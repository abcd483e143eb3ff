"""A function mode that watches a pass: it remembers the head's input, and bends backward passes by a rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from sightline.frameworks.torch.ops import SHAPE, SIGMOID, SOFTMAX, kind_of
from sightline.model import Instead, Op, Rule

_WEIGHTS = {
    "conv": {"weight": 1, "bias": 2},
    "linear": {"weight": 1, "bias": 2},
    "batch_norm": {"mean": 1, "variance": 2, "weight": 3, "bias": 4},
    "layer_norm": {"weight": 2, "bias": 3},
}
_COUNT = {"add": 2, "mul": 2, "matmul": 2, "attention": 3}  # the arguments that a gradient flows to; 1 for the others
_NAMES = ("input", "tensors", "query", "key", "value", "other", "mat2")  # what these are called, in their order


class Watch(TorchFunctionMode):
    """Sees every form of an operation alike: module, function, method, in place, reused."""

    def __init__(self, rule: Rule | None = None) -> None:
        """`rule` bends the backward pass; None leaves it the derivative."""
        super().__init__()
        self.rule, self.hits, self.places = rule, 0, [""]
        self.met_head = False  # whether there was any softmax or sigmoid, at the end or not
        self._heads = WeakTensorKeyDictionary()  # what a softmax or sigmoid gave -> its kind, what it was given

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """One call of torch; the mode itself is off while it runs."""
        kwargs = kwargs or {}
        kind = "softmax" if func in SOFTMAX else "sigmoid" if func in SIGMOID else ""
        before: Any = (args[0] if args else kwargs["input"]) if kind else None
        if kind and func.__name__.endswith("_"):
            before = before.clone()  # it is about to be overwritten
        y = func(*args, **kwargs) if self.rule is None else self._ruled(func, args, kwargs)
        if kind:
            self.met_head, self._heads[y] = True, (kind, before)
        elif func in SHAPE and args and args[0] in self._heads:
            self._follow(func, args, kwargs, y)
        return y

    def _follow(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], y: Any) -> None:
        """A head in another shape is a head; but one of a softmax's classes alone has no score of its own."""
        kind, before = self._heads[args[0]]
        if kind == "sigmoid" or func is not torch.Tensor.__getitem__ or y.shape[:2] == args[0].shape[:2]:
            self._heads[y] = (kind, func(before, *args[1:], **kwargs))

    def before_head(self, outputs: Any) -> tuple[Any, str]:
        """(the scores before a softmax or sigmoid at the end, its kind), or the outputs themselves and ""."""
        kind, before = self._heads.get(outputs, ("", outputs))
        return before, kind

    def _ruled(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        kind, facts = kind_of(func, args, kwargs)
        if kind:
            args, kwargs = _positional(kind, args, kwargs)
        back = self.rule(_op(kind, facts, self.places[-1], func, args, kwargs)) if kind and self.rule else None
        if back is None:
            return func(*args, **kwargs)
        self.hits += 1
        if not isinstance(back, Instead):
            return _Ruled.apply(lambda *xs: _again(func, kind, args, kwargs, xs), back, kind, *_inputs(kind, args))
        forward = _written(back.forward) if _in_place(func, args, kwargs) else back.forward
        return _Ruled.apply(forward, back.back, kind, *_inputs(kind, args))


class _Ruled(torch.autograd.Function):
    """An operation whose backward pass is `back(y, grad_y)`."""

    @staticmethod
    def forward(ctx: Any, call: Callable[..., Any], back: Any, kind: str, *xs: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = call(*xs)
        if y is xs[0]:
            ctx.mark_dirty(y)  # the operation works in place, and what reads its input later must see that
        ctx.save_for_backward(y if kind == "relu" else y.clone())  # a ReLU in place may follow anything else
        ctx.back = back
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        (y,) = ctx.saved_tensors
        found = ctx.back(y, grads[0])
        return (None, None, None, *(found if isinstance(found, tuple) else (found,)))


def _written(forward: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """`forward`, its result where its first argument was: whoever calls an operation in place may drop what it gives."""
    return lambda *xs: xs[0].copy_(forward(*xs))


def _positional(kind: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The same call, with the inputs that were given by name in their places, and the weights as plain values."""
    args, kwargs = tuple(map(_value, args)), {name: _value(given) for name, given in kwargs.items()}
    named = [name for name in _NAMES if name in kwargs] if len(args) < _COUNT.get(kind, 1) else []
    rest = {name: value for name, value in kwargs.items() if name not in named}
    return (*args, *(kwargs[name] for name in named)), rest


def _value(given: Any) -> Any:
    return given.detach() if isinstance(given, torch.nn.Parameter) else given  # the twin's weights end with the pass


def _op(kind: str, facts: dict[str, Any], place: str, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Op:
    inputs = tuple(x.detach() for x in _inputs(kind, args))
    if _in_place(func, args, kwargs):
        inputs = tuple(x.clone() for x in inputs)  # they are about to be overwritten
    params = facts | {name: _weight(at, name, args, kwargs) for name, at in _weights_of(kind, func).items()}

    def again(*xs: Any, **changed: Any) -> tuple[Any, Callable[[Any], tuple[Any, ...]]]:
        with torch.enable_grad():
            leaves = [x.detach().clone().requires_grad_() for x in xs]
            y = _again(func, kind, args, kwargs, tuple(x.clone() for x in leaves), changed)
        return y.detach(), lambda g: torch.autograd.grad(y, leaves, g, retain_graph=True)

    return Op(kind, place, inputs, params, again)


def _in_place(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    name = getattr(func, "__name__", "")
    written = name.endswith("_") and not name.endswith("__")
    return written or name.startswith("__i") or bool(kwargs.get("inplace")) or any(a is True for a in args)


def _inputs(kind: str, args: tuple[Any, ...]) -> tuple[torch.Tensor, ...]:
    """The arguments that a gradient flows to."""
    given = args[0] if kind == "concat" else args[: _COUNT.get(kind, 1)]
    return tuple(a for a in given if isinstance(a, torch.Tensor))


def _weights_of(kind: str, func: Any) -> Mapping[str, int]:
    name = getattr(func, "__name__", "") if kind == "norm" else kind
    return _WEIGHTS.get(name, {})


def _weight(at: int, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return args[at] if at < len(args) else kwargs.get(name)


def _again(
    func: Any, kind: str, args: tuple[Any, ...], kwargs: dict[str, Any], xs: tuple[Any, ...], changed: Any = None
) -> Any:
    """`func` once more on `xs` in place of its inputs, with the weights named in `changed` replaced."""
    given, named = list(args), dict(kwargs)
    if kind == "concat":
        given[0] = list(xs)
    else:
        rest, count = iter(xs), _COUNT.get(kind, 1)
        given[:count] = [next(rest) if isinstance(a, torch.Tensor) else a for a in given[:count]]
    for name, at in _weights_of(kind, func).items():
        if changed and name in changed:
            if at < len(given):
                given[at] = changed[name]
            else:
                named[name] = changed[name]
    return func(*given, **named)
