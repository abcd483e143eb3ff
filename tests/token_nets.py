"""A small vision transformer, with a token of the class and registers or with a mean over its tokens, and what it learns."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

SIDE, CELL = 48, 8


class Block(nn.Module):
    """Attention and a layer of its own for each token, each behind a normalisation and beside a skip."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, 2, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a = self.norm1(x)
        x = x + self.attention(a, a, a, need_weights=False)[0]
        return x + self.mlp(self.norm2(x))


class SmallViT(nn.Module):
    """Patches of `patch` pixels; before them `registers` tokens, the first of which is that of the class; none: a mean."""

    def __init__(self, registers: int = 1, width: int = 16, depth: int = 2, classes: int = 5, patch: int = 8) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, stride=patch)
        self.first = nn.Parameter(torch.randn(1, registers, width))
        self.blocks = nn.ModuleList(Block(width) for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        count = self.first.shape[1]
        x = torch.cat([self.first.expand(len(x), -1, -1), x], 1)
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        return self.head(x[:, 0] if count else x.mean(1))


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


def trained() -> SmallViT:
    """A net with a token of the class and a register that has learnt the colours."""
    torch.manual_seed(0)
    net = SmallViT(registers=2, width=32, classes=3)
    optimiser = torch.optim.Adam(net.parameters(), 2e-3)
    for step in range(150):
        pictures, colours, _ = drawn(64, 100 + step)
        optimiser.zero_grad()
        F.cross_entropy(net(pictures), colours).backward()
        optimiser.step()
    return net.eval()
