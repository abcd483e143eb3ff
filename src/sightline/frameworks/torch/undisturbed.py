"""Whether a pass is as torch made it, so that an operation may be done another way than the one that is written down."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.modules.module import _has_any_global_hook

from sightline.frameworks.torch.watch import Watch

BENT = frozenset({"conv", "norm"})  # what a rule must see as it is written down


def _made_of() -> tuple[Any, ...]:
    """What convolutions and batch norms in chains do, unless somebody puts something else there."""
    conv = nn.Conv2d.forward, nn.Conv2d._conv_forward, F.conv2d
    chain = nn.Sequential.forward, nn.Sequential.__iter__
    return nn.Module.__call__, *chain, *conv, nn.BatchNorm2d.forward, F.batch_norm


_TORCHS_OWN = _made_of()
_OWN = (torch.Tensor, nn.Parameter)


def is_undisturbed() -> bool:
    """Whether nobody but ourselves watches, changes or compiles what runs."""
    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        return False
    count = torch._C._len_torch_function_stack()
    ours = not count or (count == 1 and isinstance(torch._C._get_function_stack_at(0), Watch))
    seen = not ours or torch._C._len_torch_dispatch_stack() or _has_any_global_hook()
    changed = torch._C._functorch.peek_interpreter_stack() is not None or torch.is_autocast_enabled("cpu")
    return not seen and not changed and _made_of() == _TORCHS_OWN


def lets_be(kinds: frozenset[str] | None) -> bool:
    """Whether a rule that must see operations of these kinds (None: of any) needs no convolution as it is written down,
    and nobody watches.
    """
    return kinds is not None and not kinds & BENT and is_undisturbed()


def is_quick(weight: torch.Tensor | None) -> bool:
    """Whether operations with weights of this type, where they lie, are done the quicker way: on a GPU the time goes into
    starting what does them.
    """
    return weight is not None and weight.is_cpu and weight.dtype is torch.float32


def is_plain(t: Any) -> bool:
    """Whether it is a tensor of torch's own for which that holds."""
    return type(t) in _OWN and is_quick(t) and t.layout is torch.strided
