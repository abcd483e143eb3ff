"""The methods of attention against their twins, in float64, and where they find what a small transformer looks at."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import paper_attention as paper
from sightline.frameworks.torch import TorchModel
from sightline.method import METHODS
from sightline.model import Target
from token_nets import SmallViT

FRAMEWORKS = ("torch",)
NAMES = [name for name in sorted(METHODS) if "attention" in METHODS[name].needs]
CLASSES = (3, 1)
every_method = pytest.mark.parametrize("name", NAMES)
READ = {"the token of the class": 1, "with a register": 2, "the mean of all": 0}


def net_of(registers: int, seed: int = 0, **options: Any) -> SmallViT:
    torch.manual_seed(seed)
    net = SmallViT(registers, patch=4, **options).double().eval()
    for name, p in net.named_parameters():
        if "bias" in name or "norm" in name:
            p.data += 0.3 * torch.randn_like(p)
        elif "proj" in name:
            p.data *= 3  # attention that is far from even
    return net


def images(seed: int = 1) -> torch.Tensor:
    return torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def classes(outputs: torch.Tensor) -> torch.Tensor:
    return outputs.T[list(CLASSES)]


def attribute(net: nn.Module, name: str, x: torch.Tensor) -> np.ndarray:
    return METHODS[name].attribute(TorchModel(net), x, Target(classes))[0].numpy()


def test_every_method_of_attention_has_a_twin() -> None:
    assert {name.replace("-", "_") for name in NAMES} <= set(vars(paper))
    assert len(NAMES) == 5


@every_method
@pytest.mark.parametrize("read", READ)
def test_method_equals_its_twin(name: str, read: str) -> None:
    net, x = net_of(READ[read], depth=3), images()
    found = attribute(net, name, x)
    twin = getattr(paper, name.replace("-", "_"))
    expected = np.stack([[twin(net, image, c) for image in x] for c in CLASSES])
    assert found.shape == expected.shape == (2, 2, 3, 3)
    assert np.ptp(expected) > 1e-3 * np.abs(expected).max() > 0
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10 * np.abs(expected).max())
