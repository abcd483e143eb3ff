"""The layout in which each convolution is quick on a CPU: channels last, but where its weights far outnumber its values.

Of the last stage of ResNet-50 some take three times as long for one image with channels last as with channels first; in
the stages before it is the other way round. It depends on the layer and on the size of an image, never on the batch;
and nobody sees it: what such a convolution gives has the layout that it would have had.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from sightline.frameworks.torch.undisturbed import is_plain, is_undisturbed, lets_be

_MANY = 2**19  # weights: a convolution of fewer gains less than it costs to ask
_OUTWEIGHED = 6  # times as many weights as values: measured, for kernels of 1 to 3 and images of 7 to 56 cells
_OURS = "_sightline_laid_out"


def convolutions_of(modules: Iterable[nn.Module]) -> list[nn.Conv2d]:
    """The large convolutions of a model most of whose weights lie in them; none of another's, which would gain little."""
    every = {id(module): module for module in modules if type(module) is nn.Conv2d}.values()
    sizes = {conv: weight.numel() for conv in every if (weight := conv._parameters.get("weight")) is not None}
    large = [conv for conv, size in sizes.items() if size >= _MANY]
    return large if 2 * sum(sizes[conv] for conv in large) > sum(sizes.values()) else []


@contextmanager
def laid_out(convs: Sequence[nn.Conv2d], kinds: frozenset[str] | None) -> Iterator[None]:
    """Within it convolutions of a twin have their input in the layout in which they are quick, unless operations of one
    of the `kinds` are to be seen; None: of any. To be entered last, so that whoever watches stands outside of it.
    """
    if not convs or not lets_be(kinds):
        yield
        return
    before = [conv.register_forward_pre_hook(_channels_first) for conv in convs]
    after = [conv.register_forward_hook(_channels_last, prepend=True) for conv in convs]
    yield
    for handle in (*before, *after):  # after an exception the twin is thrown away as a whole
        handle.remove()


def _channels_first(conv: Any, given: tuple[Any, ...]) -> Any:
    """What a convolution is given, with channels first where it has many weights for it."""
    if len(given) != 1 or not is_undisturbed():
        return None
    with torch._C.DisableTorchFunction():  # whoever watches is not asked about each of a tensor's properties
        x: torch.Tensor = given[0]
        if not is_plain(x) or x.ndim != 4 or not x.is_contiguous(memory_format=torch.channels_last):
            return None
        if x.is_contiguous() or not _is_outweighed(x, conv):
            return None
        x = x.contiguous()
    setattr(x, _OURS, True)
    return (x,)


def _channels_last(conv: Any, given: tuple[Any, ...], y: torch.Tensor) -> torch.Tensor | None:
    """What a convolution has given to whom it was laid out, as it would have been."""
    if not given or not hasattr(given[0], _OURS):
        return None
    with torch._C.DisableTorchFunction():
        return y.contiguous(memory_format=torch.channels_last)


def _is_outweighed(x: torch.Tensor, conv: Any) -> bool:
    """Whether the weights of a convolution far outnumber the values that it takes and gives for one image."""
    weight, stride = conv._parameters.get("weight"), conv.stride
    if not is_plain(weight) or type(stride) is not tuple or len(stride) != 2 or 0 in stride:
        return False
    given, cells = x.shape[1:].numel(), x.shape[2] * x.shape[3] // (stride[0] * stride[1])
    return bool(weight.numel() > _OUTWEIGHED * max(given, len(weight) * cells))
