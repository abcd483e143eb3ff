"""Norms go back right whatever the layout of what comes there: torch's own kernel does not, of a single image."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import sightline as sl

FRAMEWORKS = ("torch",)


class Tokens(nn.Module):
    """A batch norm whose value becomes tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 6, 2, 2), nn.BatchNorm2d(6)
        self.last, self.head = nn.LayerNorm(6), nn.Linear(6, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.norm(self.conv(x).contiguous()).flatten(2).transpose(1, 2)
        return self.head(torch.tanh(self.last(tokens)).mean(1))


class Grid(Tokens):
    """Tokens that become a grid before their batch norm."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x)
        tokens = self.last(y.flatten(2).transpose(1, 2))
        return self.head(torch.tanh(self.norm(tokens.transpose(1, 2).unflatten(2, y.shape[2:]))).mean((2, 3)))


class Checkpointed(Tokens):
    """A part of which is run again on the way back."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = checkpoint(super().forward, x, use_reentrant=False)
        return y


class Instances(Tokens):
    """An instance norm, which torch makes a batch norm of."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.InstanceNorm2d(6, affine=True)


NETS = (Tokens, Grid, Instances)


def made(kind: type[Tokens]) -> nn.Module:
    torch.manual_seed(0)
    net = kind().eval()
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_var.uniform_(0.3, 2)
            part.running_mean.normal_()
    return net


def slope(net: nn.Module, x: np.ndarray, way: np.ndarray) -> float:
    """Of the score of class 1 along `way`, by its difference."""
    with torch.no_grad():
        ends = [net.double()(torch.tensor(x + h * way))[0, 1].item() for h in (1e-6, -1e-6)]
    return (ends[0] - ends[1]) / 2e-6


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", [*NETS, Checkpointed])
def test_the_gradient_of_one_image_is_the_slope(kind: type[Tokens], dtype: Any) -> None:
    rng = np.random.default_rng(0)
    x, way = (rng.normal(size=(1, 3, 12, 10)) for _ in range(2))
    net = made(kind) if dtype is np.float32 else made(kind).double()
    found = sl.explain(net, x.astype(dtype), method="gradient", target=1)
    given = (np.moveaxis(found.attribution[0], -1, 0) * way[0]).sum()
    assert given == pytest.approx(slope(made(kind), x, way), rel=1e-3)


@pytest.mark.parametrize("method", ["gradient", "integrated-gradients", "input-x-gradient", "layer-cam"])
@pytest.mark.parametrize("kind", NETS)
def test_an_image_alone_has_the_map_that_it_has_among_others(kind: type[Tokens], method: str) -> None:
    x = np.random.default_rng(1).normal(size=(2, 3, 12, 10)).astype(np.float32)
    layer = "conv" if method == "layer-cam" else None
    both = sl.explain(made(kind), x, method=method, target=2, layer=layer).attribution
    alone = sl.explain(made(kind), x[:1], method=method, target=2, layer=layer).attribution
    np.testing.assert_allclose(alone[0], both[0], rtol=0, atol=1e-4 * np.abs(both[0]).max())
