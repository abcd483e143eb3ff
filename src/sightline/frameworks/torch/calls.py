"""One call of torch's as an operation: its inputs and weights by name, itself once more, and a backward pass of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from sys import maxsize
from typing import Any

import torch
import torch.nn.functional as F

from sightline.frameworks.torch.norms import with_even_norms
from sightline.frameworks.torch.ops import CONVOLUTIONS, Func, T
from sightline.frameworks.torch.outputs import usable
from sightline.frameworks.torch.precision import as_now
from sightline.model import Back

Args = tuple[Any, ...]
Named = dict[str, Any]
_WEIGHTS: dict[str, dict[str, int]] = {"conv": {"weight": 1, "bias": 2}, "linear": {"weight": 1, "bias": 2}}
_NORMS: dict[Func, dict[str, int]] = {
    F.batch_norm: {"mean": 1, "variance": 2, "weight": 3, "bias": 4},
    torch.batch_norm: {"weight": 1, "bias": 2, "mean": 3, "variance": 4},
    F.layer_norm: {"weight": 2, "bias": 3},
    F.group_norm: {"weight": 2, "bias": 3},
}
_OPTIONS: dict[Func, dict[str, tuple[int, Any]]] = {  # what else a rule must know: where it stands, its default
    F.batch_norm: {"epsilon": (7, 1e-5)},
    torch.batch_norm: {"epsilon": (7, 1e-5)},
    F.layer_norm: {"layer": (1, None), "epsilon": (4, 1e-5)},
    F.softmax: {"axis": (1, None)},
    torch.softmax: {"axis": (1, None)},
    T.softmax: {"axis": (1, None)},
    F.scaled_dot_product_attention: {"mask": (3, None), "causal": (5, False), "scale": (6, None)},
}
_ALIASES = {"eps": "epsilon", "dim": "axis", "attn_mask": "mask", "is_causal": "causal", "normalized_shape": "layer"}
WEIGHTED = ("conv", "linear", "norm")
_CALLED = {"mean": "running_mean", "variance": "running_var"}
_COUNT = {"add": 2, "sub": 2, "div": 2, "mul": 2, "matmul": 2, "attention": 3}  # its inputs; 1 for the others
_NAMES = ("input", "tensors", "query", "key", "value", "other", "mat2")  # what these are called, in their order


def positional(kind: str, args: Args, kwargs: Named) -> tuple[Args, Named]:
    """The same call, with the inputs that were given by name in their places, and the weights as plain values."""
    args, kwargs = tuple(map(_value, args)), {name: _value(given) for name, given in kwargs.items()}
    named = [name for name in _NAMES if name in kwargs] if len(args) < _COUNT.get(kind, 1) else []
    rest = {name: value for name, value in kwargs.items() if name not in named}
    return (*args, *(kwargs[name] for name in named)), rest


def _value(given: Any) -> Any:
    return given.detach() if isinstance(given, torch.nn.Parameter) else given  # the twin's weights end with the pass


def loose(given: Any) -> Any:
    """The same values without their graph: who keeps what an operation in place was given keeps its result, which keeps
    the graph, which keeps him.
    """
    if isinstance(given, torch.Tensor):
        return given.detach()
    return type(given)(map(loose, given)) if type(given) in (list, tuple) else given


def in_place(func: Func, args: Args, kwargs: Named) -> bool:
    """Whether a call overwrites its input."""
    name = getattr(func, "__name__", "")
    written = name.endswith("_") and not name.endswith("__")
    flags = [*args[_flag_in_place(func) :][:1], kwargs.get("inplace")]
    return written or name.startswith("__i") or any(flag is True for flag in flags)


@cache
def _flag_in_place(func: Func) -> int:
    """Where `inplace` stands among the arguments; beyond all of them for a function without it."""
    code = getattr(func, "__code__", None)
    names = code.co_varnames[: code.co_argcount] if code else ()
    return names.index("inplace") if "inplace" in names else maxsize


def inputs(kind: str, args: Args) -> tuple[torch.Tensor, ...]:
    """The arguments that a gradient may flow to."""
    given = args[0] if kind == "concat" else args[: _COUNT.get(kind, 1)]
    return tuple(a for a in given if isinstance(a, torch.Tensor))


def params(kind: str, func: Func, args: Args, kwargs: Named) -> Named:
    """The weights of a call, and what else a rule must know of it."""
    found = {name: _at(at, name, args, kwargs) for name, at in _weights_of(kind, func).items()}
    named = {_ALIASES.get(name, name): value for name, value in kwargs.items()}
    for name, (at, default) in _OPTIONS.get(func, {}).items():
        found[name] = args[at] if at < len(args) else named.get(name, default)
    if kind in ("conv", "linear"):
        found["per_channel"] = _per_channel(func, found["weight"], args, kwargs)
    return found


def _per_channel(func: Func, weight: torch.Tensor, args: Args, kwargs: Named) -> tuple[int, ...] | None:
    """The shape in which a number for each output channel meets the weight; None where it never does."""
    if not getattr(func, "__name__", "").startswith("conv_transpose"):
        return (-1, *[1] * (weight.ndim - 1))
    grouped = _at(6, "groups", args, kwargs) or 1
    return (1, -1, *[1] * (weight.ndim - 2)) if grouped == 1 else None


def _weights_of(kind: str, func: Func) -> Mapping[str, int]:
    return _NORMS.get(func, {}) if kind == "norm" else _WEIGHTS.get(kind, {})


def _at(at: int, name: str, args: Args, kwargs: Named) -> Any:
    return args[at] if at < len(args) else kwargs.get(_CALLED.get(name, name))


def call_again(func: Func, kind: str, args: Args, kwargs: Named, xs: Args, changed: Named) -> Any:
    """`func` once more on `xs` in place of its inputs, with the weights named in `changed` replaced."""
    given, named = list(args), dict(kwargs)
    if kind == "concat":
        given[0] = list(xs)
    else:
        rest, count = iter(xs), _COUNT.get(kind, 1)
        given[:count] = [next(rest) if isinstance(a, torch.Tensor) else a for a in given[:count]]
    for name, at in _weights_of(kind, func).items():
        if name in changed:
            if at < len(given):
                given[at] = changed[name]
            else:
                named[_CALLED.get(name, name)] = changed[name]
    return func(*given, **named)


def again(func: Func, kind: str, args: Args, kwargs: Named) -> Callable[..., tuple[Any, Callable[[Any], Args]]]:
    """A function that does the call once more with other values, and gives its derivative."""

    own = (lambda x: x) if kind in WEIGHTED else torch.clone  # others may work in place

    def once_more(*xs: Any, **changed: Any) -> tuple[Any, Callable[[Any], Args]]:
        with torch.enable_grad():
            leaves = [own(usable(x.detach())).requires_grad_() for x in xs]
            y = with_even_norms(call_again(func, kind, args, kwargs, tuple(map(own, leaves)), changed))
        return y.detach(), lambda g: torch.autograd.grad(y, leaves, g, retain_graph=True, materialize_grads=True)

    return once_more


def pull_of(func: Func, kind: str, args: Args, kwargs: Named) -> Callable[..., Args] | None:
    """The derivative of a linear layer or a convolution, which needs no pass forward; None for any other call."""
    weight = args[1] if len(args) > 1 else kwargs.get("weight")
    if kind == "linear" and weight is not None:
        return lambda g, weight=weight: (torch.matmul(g, weight.to(g.dtype)),)
    names = ("stride", "padding", "dilation", "groups")
    settings = (
        dict(zip(names, (1, 0, 1, 1))) | dict(zip(names, args[3:])) | {n: kwargs[n] for n in names if n in kwargs}
    )
    if (
        func not in CONVOLUTIONS
        or weight is None
        or args[0].ndim != weight.ndim
        or isinstance(settings["padding"], str)
    ):
        return None
    groups, x = settings.pop("groups"), args[0].detach()
    stride, padding, dilation = (_each_axis(value, weight.ndim - 2) for value in settings.values())

    def pull(g: Any, weight: Any = weight) -> Args:
        geometry = (None, stride, padding, dilation, False, [0] * len(stride), groups, (True, False, False))
        given: torch.Tensor = torch.ops.aten.convolution_backward(g, x.to(g.dtype), weight.to(g.dtype), *geometry)[0]
        return (given,)

    return pull


def _each_axis(value: int | tuple[int, ...], axes: int) -> list[int]:
    many = [value] if isinstance(value, int) else list(value)
    return many * axes if len(many) == 1 else many


class Ruled(torch.autograd.Function):
    """`call(*xs)`, whose backward pass is `back(y, grad_y)`."""

    @staticmethod
    def forward(ctx: Any, call: Callable[..., Any], back: Back, kind: str, *xs: torch.Tensor) -> torch.Tensor:
        """What a rule for weights reads again must not be overwritten meanwhile: torch says so if it is."""
        y: torch.Tensor = call(*xs)
        if y is xs[0]:
            ctx.mark_dirty(y)  # the operation works in place, and what reads its input later must see that
        kept = xs if kind in WEIGHTED else ()
        ctx.save_for_backward(y if kind == "relu" else y.clone(), *kept)  # a ReLU in place may follow anything else
        ctx.back, ctx.cast = back, as_now(xs[0].device)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        """The rule's gradients of the inputs."""
        with ctx.cast:
            return (None, None, None, *ctx.back(ctx.saved_tensors[0], grads[0]))
