"""The nets of the control world, in PyTorch, with the weights that their closed forms are of."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from sightline.worlds.control import HIDDEN, LINEAR, OUTER, weights


class Product(nn.Module):
    """The product of two weighted sums of an image (n, 3, h, w), as scores (n, 1)."""

    def __init__(self, means: nn.Module) -> None:
        super().__init__()
        self.means = means

    def forward(self, x: Tensor) -> Tensor:
        """One mean times the other."""
        a, b = self.means(torch.flatten(x, 1)).split(1, dim=1)
        return a * b


def control_net(kind: str, size: int) -> nn.Module:
    """The net of that kind for images (n, 3, size, size) from 0 to 1, ready to answer: scores (n, 1)."""
    see = torch.from_numpy(np.moveaxis(weights(size), -1, 1).reshape(2, -1))
    if kind == "product":
        return Product(_linear(see, np.zeros(2))).eval()
    if kind == "linear":
        return nn.Sequential(
            nn.Flatten(), _linear(torch.tensor([LINEAR[:2]], dtype=torch.float64) @ see, LINEAR[2:])
        ).eval()
    hidden = torch.tensor(HIDDEN, dtype=torch.float64)
    outer = _linear(torch.tensor([OUTER]), np.zeros(1))
    return nn.Sequential(nn.Flatten(), _linear(hidden[:, :2] @ see, hidden[:, 2]), nn.ReLU(), outer).eval()


def _linear(matrix: Tensor, bias: object) -> nn.Linear:
    layer = nn.Linear(matrix.shape[1], matrix.shape[0])
    with torch.no_grad():
        layer.weight.copy_(matrix)
        layer.bias.copy_(torch.as_tensor(bias))
    return layer
