"""Nets for mosaics whose cells cannot see each other, so that what a map must leave out is known exactly.

Both give the scores of the first cell's classes, then those of the second, row by row: output `cell * classes + class`
hangs on that cell (DiFull), or on that cell and its margin (DiPart), and on nothing else (Rao et al. 2022, section 3.1).
"""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor, nn

from sightline.errors import ModelError


def cells_of(x: Tensor, grid: int) -> list[Tensor]:
    """The `grid` by `grid` cells of maps (n, c, h, w), row by row; ModelError where they would not be equal."""
    if x.shape[2] % grid or x.shape[3] % grid:
        raise ModelError(
            f"Maps of {tuple(x.shape[2:])} were to be cut into {grid} by {grid} cells; expected multiples of {grid}.",
            "Give a picture of another size.",
        )
    rows = x.chunk(grid, 2)
    return [rows[down].chunk(grid, 3)[across] for down, across in product(range(grid), repeat=2)]


class DiFull(nn.Module):
    """A whole net for each cell by itself: images (n, 3, grid * h, grid * w) to scores (n, cells * classes)."""

    def __init__(self, net: nn.Module, grid: int = 2) -> None:
        super().__init__()
        self.net, self.grid = net, grid

    def forward(self, x: Tensor) -> Tensor:
        """The scores of each cell's classes, side by side."""
        return torch.cat([self.net(cell) for cell in cells_of(x, self.grid)], dim=1)


class DiPart(nn.Module):
    """One pass of the features, and a head for each cell of them.

    Only as far as a feature sees beyond its cell's border does a score hang on another cell.
    """

    def __init__(self, features: nn.Module, head: nn.Module, grid: int = 2) -> None:
        super().__init__()
        self.features, self.head, self.grid = features, head, grid

    def forward(self, x: Tensor) -> Tensor:
        """The scores of each cell's classes, side by side."""
        return torch.cat([self.head(cell) for cell in cells_of(self.features(x), self.grid)], dim=1)


def disconnected(net: nn.Sequential, grid: int = 2, *, fully: bool = True) -> nn.Module:
    """The net of a world with its cells disconnected: DiFull, or DiPart behind its `features`; in evaluation mode."""
    return (DiFull(net, grid) if fully else DiPart(net[0], net[1:], grid)).eval()
