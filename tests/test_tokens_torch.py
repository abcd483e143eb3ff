"""A small vision transformer that has learnt the colour of a patch, and whether maps of its tokens point at the patch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import sightline as sl
from token_nets import SmallViT

FRAMEWORKS = ("torch",)
SIDE, CELL = 48, 8


def drawn(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Noisy pictures with a patch of one of three colours on one cell: (pictures, colours, cells)."""
    rng = torch.Generator().manual_seed(seed)
    pictures = 0.3 * torch.randn(count, 3, SIDE, SIDE, generator=rng)
    colours = torch.randint(3, (count,), generator=rng)
    cells = torch.randint((SIDE // CELL) ** 2, (count,), generator=rng)
    for picture, colour, cell in zip(pictures, colours.tolist(), cells.tolist()):
        row, column = (CELL * i for i in divmod(cell, SIDE // CELL))
        picture[colour, row : row + CELL, column : column + CELL] += 1.5
    return pictures, colours, cells


@pytest.fixture(scope="module")
def net() -> SmallViT:
    torch.manual_seed(0)
    net = SmallViT(registers=2, width=32, classes=3)
    optimiser = torch.optim.Adam(net.parameters(), 2e-3)
    for step in range(150):
        pictures, colours, _ = drawn(64, 100 + step)
        optimiser.zero_grad()
        F.cross_entropy(net(pictures), colours).backward()
        optimiser.step()
    return net.eval()


@pytest.mark.parametrize(
    ("method", "options"), [("integrated-gradients", {"baseline": 0}), ("recipro-cam", {"layer": "blocks.0.norm1"})]
)
def test_a_map_points_at_the_patch_that_the_class_is_about(net: SmallViT, method: str, options: dict[str, Any]) -> None:
    """A cell alone tells: tokens are where they should be. (Grad-CAM's mean gradient over the cells does not tell here.)"""
    pictures, colours, cells = drawn(24, 7)
    e = sl.explain(net, pictures, method=method, target="top", **options)
    assert [t["index"] for t in e.target] == colours.tolist()
    pooled = F.avg_pool2d(torch.as_tensor(np.maximum(e.map, 0))[:, None], CELL).flatten(1)
    assert (pooled.argmax(1) == cells).float().mean() >= 0.9
