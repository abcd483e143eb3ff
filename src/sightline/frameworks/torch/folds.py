"""Batch norms folded into the convolutions before them: on a CPU that is a third of what a small model's pass takes.

Only where `nn.Sequential` itself hands a convolution's value to its batch norm is it certain that nothing else reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from sightline.frameworks.torch.looks import HOOKS

Step = Callable[[torch.Tensor], Any]
_MANY = 2**26  # bytes of weights, which are held twice
_BENT = frozenset({"conv", "norm"})  # what a rule must see as the two that they are


@dataclass
class Folds:
    """Convolutions of a twin with their batch norms, and room for their weights as one."""

    chains: list[tuple[nn.Sequential, Callable[..., Any]]]  # and its pass with what is folded
    names: frozenset[str]  # of all that run no more by themselves
    convs: list[nn.Conv2d]
    norms: list[nn.BatchNorm2d]
    theirs: list[torch.Tensor]  # what is folded, of the originals
    weights: list[torch.Tensor]
    scale: torch.Tensor  # γ / √(σ² + ε) of every channel of all of them, as are the next two
    bias: torch.Tensor
    eps: torch.Tensor
    state: list[int] = field(default_factory=list)  # versions of the originals' tensors when they were folded


def folds_of(modules: dict[str, nn.Module], originals: dict[int, nn.Module]) -> Folds | None:
    """What can be folded in a twin of these modules, `originals` by the ids of theirs; None where that is a minority of
    the batch norms, since it gains little there, or of too many weights.
    """
    every = {id(module): module for module in modules.values()}.values()
    chains: list[tuple[nn.Sequential, list[Any]]] = [
        (chain, list(chain._modules.values())) for chain in every if _is_chain(chain)
    ]
    pairs = [pair for _, parts in chains for pair in pairwise(parts) if _can_fold(*pair)]
    norms = sum(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in every)
    if 2 * len(pairs) <= norms or not pairs or sum(conv.weight.nbytes for conv, _ in pairs) > _MANY:
        return None
    parts_of = {id(part) for pair in pairs for part in pair}
    names = frozenset(name for name, module in modules.items() if id(module) in parts_of)
    theirs = [t for pair in pairs for part in pair for t in _tensors(originals[id(part)])]
    return _with_room(chains, names, pairs, theirs)


def _with_room(
    chains: list[tuple[nn.Sequential, list[Any]]], names: frozenset[str], pairs: list[Any], theirs: list[torch.Tensor]
) -> Folds:
    sizes = [norm.num_features for _, norm in pairs]
    scale, bias = torch.empty(2, sum(sizes))
    eps = torch.cat([torch.full((size,), norm.eps) for (_, norm), size in zip(pairs, sizes)])
    weights = [torch.empty(conv.weight.shape) for conv, _ in pairs]
    folded = dict(zip(pairs, zip(weights, bias.split(sizes))))
    passes = [(chain, _passing(_steps(parts, folded))) for chain, parts in chains]
    return Folds(passes, names, [c for c, _ in pairs], [n for _, n in pairs], theirs, weights, scale, bias, eps)


def _is_chain(module: nn.Module) -> bool:
    return isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward and _is_plain(module)


def _is_plain(module: nn.Module) -> bool:
    return not module.__dict__.get("forward")


def _can_fold(conv: Any, norm: Any) -> bool:
    if type(conv) is not nn.Conv2d or type(norm) is not nn.BatchNorm2d:
        return False
    whole = norm.weight is not None and norm.bias is not None and norm.running_mean is not None
    return whole and not any(part.__dict__.get(own) for part in (conv, norm) for own in ("forward", *HOOKS))


def _tensors(part: nn.Module) -> Iterator[torch.Tensor]:
    """What a convolution or batch norm computes with."""
    own = (part._parameters.get("weight"), part._parameters.get("bias"))
    statistics = (part._buffers.get("running_mean"), part._buffers.get("running_var"))
    yield from (t for t in (*own, *statistics) if t is not None)


def _steps(parts: Sequence[Any], folded: Mapping[Any, tuple[torch.Tensor, torch.Tensor]]) -> list[Step]:
    """What a chain's parts do one after the other."""
    steps: list[Step] = []
    before = None
    for part, after in zip(parts, (*parts[1:], None)):
        if (part, after) in folded:
            steps.append(_convolving(part, *folded[part, after]))
        elif (before, part) not in folded:
            steps.append(part)
        before = part
    return steps


def _convolving(conv: nn.Conv2d, weight: torch.Tensor, bias: torch.Tensor) -> Step:
    return lambda x: conv._conv_forward(x, weight, bias)


def _passing(steps: Sequence[Step]) -> Callable[..., Any]:
    def forward(input: Any) -> Any:
        for step in steps:
            input = step(input)
        return input

    return forward


@contextmanager
def folded(folds: Folds | None, paths: Collection[str] | None, kinds: frozenset[str] | None) -> Iterator[None]:
    """Within it a twin's pass runs folded, unless modules at one of the `paths` would not run, or operations of one of the
    `kinds` would not be seen. None: it may be any.
    """
    asked = paths is None or kinds is None or kinds & _BENT
    if folds is None or asked or not folds.names.isdisjoint(paths or ()) or not _renewed(folds):
        yield
        return
    chains = [(chain, forward) for chain, forward in folds.chains if _is_plain(chain)]  # no memory answers for it
    for chain, forward in chains:
        chain.__dict__["forward"] = forward
    yield
    for chain, _ in chains:  # after an exception the twin is thrown away as a whole
        del chain.__dict__["forward"]


def _renewed(folds: Folds) -> bool:
    """Fold what the twin holds now, unless it is what was folded last; False where that is not in float32 on the CPU."""
    state = [t._version for t in folds.theirs]
    if folds.state == state:
        return True
    if not all(map(is_folded, folds.theirs)):
        return False
    with torch.no_grad(), torch._C.DisableTorchFunction():
        _fold(folds)
    folds.state[:] = state
    return True


def is_folded(weight: torch.Tensor | None) -> bool:
    """Whether weights of this type, where they lie, are folded: on a GPU the time goes into starting what does it."""
    return weight is not None and weight.is_cpu and weight.dtype is torch.float32


def _fold(folds: Folds) -> None:
    """w γ / √(σ² + ε) and β − (μ − b) γ / √(σ² + ε) of each convolution (w, b) and batch norm (γ, β, μ, σ²)."""
    norms: list[Any] = folds.norms
    torch.cat([norm.running_var for norm in norms], out=folds.scale).add_(folds.eps).rsqrt_()
    folds.scale.mul_(torch.cat([norm.weight for norm in norms]))
    means = [n.running_mean if c.bias is None else n.running_mean - c.bias for c, n in zip(folds.convs, norms)]
    torch.cat([norm.bias for norm in norms], out=folds.bias).addcmul_(torch.cat(means), folds.scale, value=-1)
    scales = folds.scale.view(-1, 1, 1, 1).split([norm.num_features for norm in norms])
    for conv, scale, weight in zip(folds.convs, scales, folds.weights):
        torch.mul(conv.weight, scale, out=weight)
