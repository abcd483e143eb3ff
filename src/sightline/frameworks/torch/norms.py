"""Batch and instance norms that are given their gradient in the layout of their input.

On a CPU torch's backward pass of both mistakes one layout for the other where the two differ and an axis has one entry,
as that of a single image: the gradient is then wrong, and nothing says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch

_NORM = "NativeBatchNormBackward"


def with_even_norms(y: torch.Tensor) -> torch.Tensor:
    """`y`, with every norm that its gradient goes back through given what comes there in the layout of its input."""
    if y.is_cpu:
        for node in steps_back([y.grad_fn]):
            if node.name().startswith(_NORM):
                node.register_prehook(_laid_out_like(node._saved_input))
    return y


def steps_back(ends: Iterable[Any]) -> Iterator[Any]:
    """The derivatives that a gradient goes back through from these ends of a graph, each once."""
    left, met = list(ends), {None}
    while left:
        node = left.pop()
        if node in met:
            continue
        met.add(node)
        yield node
        left += [before for before, _ in node.next_functions]


def _laid_out_like(x: torch.Tensor) -> Callable[[Any], Any]:
    shape, stride = x.shape, x.stride()
    dense = torch.ops.aten.is_non_overlapping_and_dense(x)

    def laid_out(grads: Any) -> Any:
        first, *others = grads
        if first is None or first.stride() == stride:
            return None
        if not dense:
            return first.clone(memory_format=torch.contiguous_format), *others
        return first.new_empty_strided(shape, stride).copy_(first), *others

    return laid_out
