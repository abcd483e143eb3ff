"""Attention in its open form: a function mode under which its probabilities are tensors that can be recorded."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from sightline.frameworks.torch.calls import Args, Named
from sightline.frameworks.torch.ops import Func, T
from sightline.frameworks.torch.watch import COMPOSITE

Seen = Callable[[torch.Tensor], torch.Tensor]  # probabilities (rows, heads, Q, K) -> what goes on in their place
_SOFTMAX = {F.softmax, torch.softmax, T.softmax, torch.special.softmax}


class Open(TorchFunctionMode):
    """Shows all attention of tokens to tokens, fused or not, to `seen`; a mode outside it sees the parts."""

    def __init__(self, seen: Seen) -> None:
        """`seen` takes the probabilities (rows, heads, Q, K), rows being images, or images and windows."""
        super().__init__()
        self.seen, self.heads = seen, 1

    def __torch_function__(self, func: Func, types: Any, args: Args = (), kwargs: Named | None = None) -> Any:
        """One call of torch; the mode itself is off while it runs, but for the body of a composite."""
        kwargs = kwargs or {}
        if func is F.multi_head_attention_forward:
            return self._inside(func, args, kwargs)
        if func is F.scaled_dot_product_attention:
            return self._opened(*args, **kwargs)
        y = func(*args, **kwargs)
        return self._shown(y) if func in _SOFTMAX and _over_last(y, args, kwargs) else y

    def _inside(self, func: Func, args: Args, kwargs: Named) -> Any:
        self.heads = args[4] if len(args) > 4 else kwargs["num_heads"]
        with self:
            y = COMPOSITE[func](*args, **kwargs)
        self.heads = 1
        return y

    def _opened(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attn_mask: torch.Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> torch.Tensor:
        """What `scaled_dot_product_attention` says that it computes; a token that sees none takes in nothing."""
        if enable_gqa:
            key, value = (t.repeat_interleave(query.shape[-3] // t.shape[-3], -3) for t in (key, value))
        scores = torch.matmul(query * (scale or 1 / math.sqrt(query.shape[-1])), key.transpose(-2, -1))
        if is_causal:
            attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
        if attn_mask is None:
            p = torch.softmax(scores, -1)
        else:
            hidden = ~attn_mask if attn_mask.dtype == torch.bool else attn_mask.isneginf()
            scores = scores if attn_mask.dtype == torch.bool else scores + attn_mask.masked_fill(hidden, 0)
            blind = hidden.all(-1, keepdim=True)
            p = torch.softmax(scores.masked_fill(hidden & ~blind, -math.inf), -1).masked_fill(blind, 0)
        p = self._shown(p)
        return torch.matmul(torch.dropout(p, dropout_p, True) if dropout_p else p, value)

    def _shown(self, p: torch.Tensor) -> torch.Tensor:
        if p.ndim > 3:
            return self.seen(p)
        return self.seen(p.unflatten(0, (-1, self.heads))).flatten(0, 1)  # heads beside the rows, as in a composite


def _over_last(y: torch.Tensor, args: Args, kwargs: Named) -> bool:
    """Whether a softmax was over the last axis of matrices, square ones unless each has its head: from tokens to tokens."""
    axis = kwargs.get("dim", args[1] if len(args) > 1 else None)
    square = y.ndim > 2 and y.shape[-1] == y.shape[-2]
    return axis in (-1, y.ndim - 1) and (square or y.ndim > 3) and y.shape[-1] > 1
