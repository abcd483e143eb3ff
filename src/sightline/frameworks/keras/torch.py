"""Passes of Keras models on PyTorch: eager, on weights that keep no graph."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

import keras
import torch
from keras import tree
from keras.src.backend.torch.core import get_device
from torch.overrides import TorchFunctionMode

from sightline.arrays import Array
from sightline.errors import ModelError
from sightline.frameworks.keras.gate import Engine, Pass, current
from sightline.frameworks.keras.operations import RuledPass
from sightline.frameworks.keras.passes import Arrays, Ask, before_head, check_met, edits, forward, rule_of, scores
from sightline.frameworks.torch.norms import steps_back, with_even_norms
from sightline.frameworks.torch.ops import RELU, RELU6, kind_of
from sightline.model import Back, Place, Trace


def _vjp(function: Callable[..., Array], *args: Array) -> tuple[Array, Callable[[Array], tuple[Array, ...]]]:
    with torch.enable_grad():
        leaves = [arg.detach().requires_grad_() for arg in args]
        y = with_even_norms(function(*leaves))
    return y.detach(), lambda grad_y: torch.autograd.grad(y, leaves, grad_y, retain_graph=True)


class _Bent(torch.autograd.Function):
    """A function whose backward pass is a rule's."""

    @staticmethod
    def forward(ctx: Any, function: Callable[..., Array], back: Back, *xs: Array) -> Array:
        y = function(*xs)
        ctx.back = back
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Array) -> tuple[Array | None, ...]:
        return None, None, *ctx.back(ctx.saved_tensors[0], grads[0])


def _bend(function: Callable[..., Array], back_of: Callable[..., Back], *xs: Array) -> Array:
    bent: Array = _Bent.apply(function, back_of(*(x.detach() for x in xs)), *xs)
    return bent


_SEEN = "sightline"  # on a step back


def _seen(y: Array) -> Array:
    """What a ReLU gave that Python has called: the rule was asked, or is none for it."""
    if y.grad_fn is not None:
        y.grad_fn.metadata[_SEEN] = True
    return y


ENGINE = Engine(lambda: None, _vjp, _bend, lambda a: a.detach(), seen=_seen)


class _Rectifiers(TorchFunctionMode):
    """Shows the pass the ReLUs which no Keras function made."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        watch, kwargs = current(), kwargs or {}
        kind, params = kind_of(func, args, kwargs) if func in RELU | RELU6 else ("", {})
        if watch is None or not kind:
            return _seen(func(*args, **kwargs)) if func in RELU | RELU6 else func(*args, **kwargs)
        x = args[0] if args else kwargs["input"]
        in_place = func.__name__.endswith("_") or kwargs.get("inplace") or args[-1:] == (True,)
        y = watch.rectify(x.clone() if in_place else x, None if params["limit"] == math.inf else params["limit"], 0.0)
        return x.copy_(_seen(y)) if in_place else _seen(y)


@contextmanager
def _evaluation(model: keras.Model, graph: bool) -> Iterator[None]:
    """Stand-ins for the weights, in the same memory: no graph leads to them, and an optimiser's step is no error."""
    scope = keras.StatelessScope(initialize_variables=False)
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad() if graph else torch.no_grad())
        scope.state_mapping = {id(variable): variable.value.data for variable in model.variables}
        stack.enter_context(scope)
        yield


def run(model: keras.Model, ask: Ask, arrays: Arrays) -> Trace:
    """One pass: the forward one keeps a graph from the shallowest place on, where a gradient is asked."""
    recorded: dict[Place, Array] = {}

    def record(place: Place, value: Array) -> Array:
        if ask.score is not None and value.is_floating_point() and not value.requires_grad:
            value = value.detach().requires_grad_()
        recorded[place] = value
        return value.clone()  # what follows may work in place

    watch = RuledPass(ENGINE, ask.recorded, edits(ask, arrays), record, rule_of(ask, arrays))
    with _evaluation(model, graph=bool(ask.differentiated)):
        with _Rectifiers() if ask.rule is not None else nullcontext():
            outputs = forward(model, ask, arrays, watch)
        check_met(ask, watch)
        _check_seen(ask, outputs)
        outputs, head = before_head(watch, outputs)
        outputs = watch.scores(outputs)
        score = None if ask.score is None else scores(ask, outputs, recorded, arrays)
        places = ask.differentiated
        grads = _gradients(score, [recorded[place] for place in places]) if places else []
    values = {place: recorded[place].detach() for place in ask.at}
    return Trace(outputs.detach(), None if score is None else score.detach(), values, dict(zip(places, grads)), head)


def _check_seen(ask: Ask, outputs: Any) -> None:
    """A ReLU that no rule was asked about keeps its derivative, so that a rule for ReLU must be refused."""
    if "relu" not in (getattr(ask.rule, "kinds", None) or ()):
        return
    for node in steps_back(y.grad_fn for y in tree.flatten(outputs) if isinstance(y, torch.Tensor)):
        if _is_relu(node) and _SEEN not in node.metadata:
            raise ModelError(
                "the model has a ReLU inside TorchScript, where a backward rule cannot reach.",
                "Take torch.jit.script off the layer's call, or use a method without a backward rule.",
            )


def _is_relu(node: Any) -> bool:
    """Whether a step back is that of a ReLU, or of a part that TorchScript has made one piece."""
    name = node.name()
    ceiling = name.startswith("HardtanhBackward") and node._saved_min_val == 0
    return ceiling or name.startswith("ReluBackward") or "DifferentiableGraph" in name


def _gradients(score: Array, values: Sequence[Array]) -> list[Array]:
    """(k, n, ...) for each of the values; zeros where the score does not hang on them."""
    each = []
    for i, one in enumerate(with_even_norms(score)):
        more = i + 1 < len(score)
        found = (
            torch.autograd.grad(one.sum(), values, retain_graph=more, allow_unused=True)
            if one.requires_grad
            else values
        )
        each.append([torch.zeros_like(v) if g is None or g is v else g for v, g in zip(values, found)])
    return [torch.stack(grads) for grads in zip(*each)]


def survey(model: keras.Model, ask: Ask, arrays: Arrays) -> Pass:
    """One plain pass, which says what there is."""
    watch = Pass(ENGINE)
    with _evaluation(model, graph=False):
        forward(model, ask, arrays, watch)
    return watch


def device() -> str:
    """What Keras computes on."""
    return str(get_device())
