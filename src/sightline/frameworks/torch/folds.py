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
from torch import nn

from sightline.frameworks.torch.undisturbed import is_plain, is_undisturbed, lets_be

_MISSING = object()
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


@contextmanager
def folded(chains: Sequence[nn.Sequential], kinds: frozenset[str] | None) -> Iterator[None]:
    """Within it the chains of a twin run folded, unless operations of one of the `kinds` are to be seen; None: of any."""
    if not lets_be(kinds):
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


@torch.jit.ignore  # who compiles a chain on the way has it as it is
def _forward(chain: nn.Sequential, input: Any) -> Any:
    """The parts of a chain one after the other, convolutions with their batch norms as one where they can be."""
    if not _is_chain(chain):  # it has another class by now
        return type(chain).forward(chain, input)
    parts: list[Any] = list(chain._modules.values())
    if not is_undisturbed():
        for part in parts:
            input = part(input)
        return input
    at = 0
    while at < len(parts):
        with torch._C.DisableTorchFunction():  # whoever watches is not asked about each of a tensor's properties
            folded = _folded(parts[at], parts[at + 1], input) if at + 1 < len(parts) else None
        input = parts[at](input) if folded is None else parts[at]._conv_forward(input, *folded)
        at += 1 if folded is None else 2
    return input


_forward.__name__ = "forward"  # a chain that is pickled meanwhile takes that of its class


def _folded(conv: Any, norm: Any, x: Any) -> tuple[torch.Tensor, torch.Tensor] | None:
    """The weights and the bias with which a convolution (w, b) needs no batch norm after it, w γ / √(σ² + ε) and
    β − (μ − b) γ / √(σ² + ε); None unless both are as torch made them, in float32 on the CPU, norm by fixed statistics,
    and that gains anything.
    """
    if not (_are_two(conv, norm) and _is_as_made(conv.__dict__) and _is_as_made(norm.__dict__) and is_plain(x)):
        return None
    own, fixed, statistics = conv._parameters, norm._parameters, norm._buffers
    weight, bias = own.get("weight"), own.get("bias", _MISSING)  # missing: it is a buffer, say
    if not is_plain(weight) or x.ndim != 4 or weight.shape[1:].numel() > x.shape[2] * x.shape[3]:
        return None  # weights to scale than values: that gains nothing
    values = fixed.get("weight"), fixed.get("bias"), statistics.get("running_mean"), statistics.get("running_var")
    count = weight.shape[:1]
    if not ((bias is None or is_plain(bias)) and all(is_plain(t) and t.shape == count for t in values)):
        return None
    gamma, beta, mean, variance = values
    scale = (variance + norm.eps).rsqrt_() * gamma
    shift = torch.addcmul(beta, mean if bias is None else mean - bias, scale, value=-1)
    return weight * scale.view(-1, 1, 1, 1), shift


def _is_as_made(own: dict[str, Any]) -> bool:
    """Whether a module's own fields have neither hooks nor what hides its weights or its forward pass, in evaluation."""
    hooks = own["_forward_hooks"] or own["_forward_pre_hooks"] or own["_backward_hooks"] or own["_backward_pre_hooks"]
    return not (hooks or own["training"]) and _HIDING.isdisjoint(own)
