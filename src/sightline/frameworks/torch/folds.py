"""Batch norms folded into the convolutions before them: on a CPU that is a third of what a small model's pass takes.

Only where `nn.Sequential` itself hands a convolution's value to its batch norm is it certain that nothing else reads it.
Whether it does, and with which weights, is seen when the two run: whoever changes, hooks or replaces a part on the way
meets it as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from types import MethodType
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.modules.module import _has_any_global_hook

from sightline.frameworks.torch.watch import Watch

_BENT = frozenset({"conv", "norm"})  # what a rule must see as the two that they are


def _made_of() -> tuple[Any, ...]:
    """What the two do, unless somebody puts something else there."""
    conv = nn.Conv2d.forward, nn.Conv2d._conv_forward, F.conv2d
    chain = nn.Sequential.forward, nn.Sequential.__iter__
    return nn.Module.__call__, *chain, *conv, nn.BatchNorm2d.forward, F.batch_norm


_TORCHS_OWN = _made_of()
_HIDING = {"weight", "bias", "running_mean", "running_var", "forward", "_conv_forward"}  # in a module's own fields


def chains_of(modules: Iterable[nn.Module]) -> list[nn.Sequential]:
    """The modules that hand convolutions' values to batch norms; none where that is a minority of the batch norms, since
    it gains little there.
    """
    every = {id(module): module for module in modules}.values()
    pairs = {id(chain): _pairs(chain) for chain in every if _is_chain(chain)}
    norms = sum(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in every)
    if 2 * sum(pairs.values()) <= norms:
        return []
    return [chain for chain in every if isinstance(chain, nn.Sequential) and pairs.get(id(chain))]


def is_folded(weight: torch.Tensor | None) -> bool:
    """Whether weights of this type, where they lie, are folded: on a GPU the time goes into starting what does it."""
    return weight is not None and weight.is_cpu and weight.dtype is torch.float32


@contextmanager
def folded(chains: Sequence[nn.Sequential], kinds: frozenset[str] | None) -> Iterator[None]:
    """Within it the chains of a twin run folded, unless operations of one of the `kinds` are to be seen; None: of any."""
    if kinds is None or kinds & _BENT or not _is_undisturbed():
        yield
        return
    free = [
        chain for chain in chains if "forward" not in chain.__dict__ and _is_chain(chain)
    ]  # no memory answers for it
    ours = [MethodType(_forward, chain) for chain in free]  # a copy of the chain has one of its own
    for chain, own in zip(free, ours):
        chain.__dict__["forward"] = own
    yield
    for chain, own in zip(free, ours):  # after an exception the twin is thrown away as a whole
        if chain.__dict__.get("forward") is own:
            del chain.__dict__["forward"]


def _is_chain(module: nn.Module) -> bool:
    kind: Any = type(module)
    own = isinstance(module, nn.Sequential) and kind.forward is nn.Sequential.forward
    return own and kind.__iter__ is nn.Sequential.__iter__


def _pairs(chain: nn.Module) -> int:
    return sum(_are_two(*two) for two in pairwise(chain._modules.values()))


def _are_two(conv: Any, norm: Any) -> bool:
    return type(conv) is nn.Conv2d and type(norm) is nn.BatchNorm2d


def _forward(chain: nn.Sequential, input: Any) -> Any:
    """The parts of a chain one after the other, convolutions with their batch norms as one where they can be."""
    if not _is_chain(chain):  # it has another class by now
        return type(chain).forward(chain, input)
    parts: list[Any] = list(chain._modules.values())
    if not _is_undisturbed() or torch.is_autocast_enabled("cpu"):
        for part in parts:
            input = part(input)
        return input
    at = 0
    while at < len(parts):
        made = _made_by(parts[at], parts[at + 1], input) if at + 1 < len(parts) else None
        input = parts[at](input) if made is None else _as_one(parts[at], parts[at + 1].eps, input, *made)
        at += 1 if made is None else 2
    return input


_forward.__name__ = "forward"  # a chain that is pickled meanwhile takes that of its class


def _is_undisturbed() -> bool:
    """Whether nobody but ourselves watches what runs."""
    count = torch._C._len_torch_function_stack()
    ours = not count or (count == 1 and isinstance(torch._C._get_function_stack_at(0), Watch))
    seen = not ours or torch._C._len_torch_dispatch_stack() or _has_any_global_hook()
    return not seen and _made_of() == _TORCHS_OWN


def _made_by(conv: Any, norm: Any, x: Any) -> tuple[Any, ...] | None:
    """(w, b, γ, β, μ, σ²) of a convolution and its batch norm; None unless both are as torch made them, in float32 on the
    CPU, and norm by fixed statistics.
    """
    if not _are_two(conv, norm):
        return None
    a, b = conv.__dict__, norm.__dict__
    if b["training"] or _is_hooked(a) or _is_hooked(b) or not (_HIDING.isdisjoint(a) and _HIDING.isdisjoint(b)):
        return None
    if "bias" not in a["_parameters"]:  # it is a buffer, say
        return None
    weight, bias = a["_parameters"].get("weight"), a["_parameters"]["bias"]
    own, statistics = b["_parameters"], b["_buffers"]
    fixed = own.get("weight"), own.get("bias"), statistics.get("running_mean"), statistics.get("running_var")
    if not (_is_plain(x) and _is_plain(weight) and (bias is None or _is_plain(bias)) and x.ndim == 4):
        return None
    if weight.shape[1:].numel() > x.shape[2] * x.shape[3]:  # weights to scale than values: that gains nothing
        return None
    count = weight.shape[:1]
    return (weight, bias, *fixed) if all(_is_plain(t) and t.shape == count for t in fixed) else None


def _is_hooked(own: dict[str, Any]) -> bool:
    hooks = own["_forward_hooks"] or own["_forward_pre_hooks"] or own["_backward_hooks"] or own["_backward_pre_hooks"]
    return bool(hooks)


def _is_plain(t: Any) -> bool:
    return (type(t) is nn.Parameter or type(t) is torch.Tensor) and is_folded(t)


def _as_one(
    conv: nn.Conv2d, eps: float, x: torch.Tensor, weight: Any, bias: Any, gamma: Any, beta: Any, mean: Any, var: Any
) -> torch.Tensor:
    """The convolution (w, b) with w γ / √(σ² + ε) and β − (μ − b) γ / √(σ² + ε), which then needs no batch norm."""
    with torch._C.DisableTorchFunction():
        scale = (var + eps).rsqrt_() * gamma
        folded = weight * scale.view(-1, 1, 1, 1)
        shift = torch.addcmul(beta, mean if bias is None else mean - bias, scale, value=-1)
    return conv._conv_forward(x, folded, shift)
