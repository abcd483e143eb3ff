"""The layout in which each convolution is quick on a CPU: channels last, but where its weights far outnumber its values.

So it is in the last stage of ResNet-50, which takes up to three times as long with channels last as with channels first;
in the stages before it is the other way round. It depends on the layer and on the size of an image, never on the batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import MethodType

import torch
from torch import nn

from sightline.frameworks.torch.undisturbed import is_plain, is_undisturbed, lets_be

_MANY = 2**19  # weights: a convolution of fewer gains less than it costs to ask
_OUTWEIGHED = 6  # times as many weights as values: measured, for kernels of 1 to 3 and images of 7 to 56 cells


def convolutions_of(modules: Iterable[nn.Module]) -> list[nn.Conv2d]:
    """The convolutions of a model most of whose weights lie in large ones; none of another's, which would gain little."""
    every = {id(module): module for module in modules if type(module) is nn.Conv2d}.values()
    sizes = [weight.numel() for conv in every if (weight := conv._parameters.get("weight")) is not None]
    large = sum(size for size in sizes if size >= _MANY)
    return list(every) if 2 * large > sum(sizes) else []


@contextmanager
def laid_out(convs: Sequence[nn.Conv2d], kinds: frozenset[str] | None) -> Iterator[None]:
    """Within it convolutions of a twin have their input in the layout in which they are quick, unless operations of one
    of the `kinds` are to be seen; None: of any.
    """
    if not convs or not lets_be(kinds):
        yield
        return
    ours = {conv: MethodType(_conv_forward, conv) for conv in convs if "_conv_forward" not in conv.__dict__}
    for conv, own in ours.items():
        conv.__dict__["_conv_forward"] = own
    yield
    for conv, own in ours.items():  # after an exception the twin is thrown away as a whole
        if conv.__dict__.get("_conv_forward") is own:
            del conv.__dict__["_conv_forward"]


def lays_out(forward: object) -> bool:
    """Whether that is what stands in a convolution for its own operation within `laid_out`."""
    return getattr(forward, "__func__", None) is _conv_forward


def _conv_forward(conv: nn.Conv2d, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    if is_plain(x) and is_plain(weight) and x.ndim == 4 and is_undisturbed():
        with torch._C.DisableTorchFunction():
            x = _quickest(x, weight, conv.stride[0] * conv.stride[1])
    return nn.Conv2d._conv_forward(conv, x, weight, bias)


_conv_forward.__name__ = "_conv_forward"  # a convolution that is pickled meanwhile takes that of its class


def _quickest(x: torch.Tensor, weight: torch.Tensor, apart: int) -> torch.Tensor:
    """The input in its layout: by how many weights there are for the values of one image."""
    _, channels, height, width = x.shape
    given, made, weights = channels * height * width, len(weight) * height * width // apart, weight.numel()
    if weights > _OUTWEIGHED * max(given, made):
        return x.contiguous()
    return x if weights > given else x.contiguous(memory_format=torch.channels_last)
