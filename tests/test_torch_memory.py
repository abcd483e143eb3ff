"""Nothing of a call is left when it is over."""

from __future__ import annotations

import gc
from typing import Any

import pytest
import torch
from torch import nn

import sightline as sl
from nets import OF_TOKENS, build_transformer
from sightline.method import METHODS

FRAMEWORKS = ("torch",)
FAMILIES = sorted({method.family for method in METHODS.values()})
FEW = {"steps": 4, "samples": 3, "window": 8, "stride": 8, "cells": 3, "segments": 6}


class Block(nn.Module):
    """A skip that is added in place, as in torchvision's ResNet: the sum is where the first of its terms was."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.norm, self.relu = nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(self.one(x))
        y += x
        return self.relu(y)


def net() -> nn.Module:
    torch.manual_seed(0)
    first = (nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2))
    last = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4))
    return nn.Sequential(*first, Block(), Block(), *last).eval()


def alive() -> int:
    """How many tensors there are."""
    gc.collect()
    return sum(issubclass(type(each), torch.Tensor) for each in gc.get_objects())


@pytest.mark.parametrize("family", FAMILIES)
def test_no_tensor_is_left_of_a_call(family: str) -> None:
    names = [name for name, method in METHODS.items() if method.family == family]
    asked: list[tuple[nn.Module, int, list[str]]] = [
        (net(), 16, [name for name in names if name not in OF_TOKENS]),
        (build_transformer().float(), 12, [name for name in names if name in OF_TOKENS]),
    ]
    counts = []
    for _ in range(3):
        for model, side, some in asked:
            x = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0))
            if some:
                few: dict[str, Any] = {k: v for k, v in FEW.items() if any(METHODS[m].takes(k, {}) for m in some)}
                sl.explain(model, x, method=some, target=1, **few)
        counts.append(alive())
    assert counts[1] == counts[2]  # what is kept with the model is there from the first call on
