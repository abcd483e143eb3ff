"""DeepLIFT beside Captum's, where that is right, and the differences where it is not."""

from __future__ import annotations

import copy
from pathlib import Path

import captum.attr
import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
from PIL import Image
from torch import nn

import sightline as sl
from conftest import ASSETS
from sightline.frameworks.torch import TorchModel
from sightline.method import METHODS
from sightline.model import Target

FRAMEWORKS = ("torch",)
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def score(outputs: torch.Tensor) -> torch.Tensor:
    return outputs[None, :, 3]


def ours(module: nn.Module, x: torch.Tensor, baseline: torch.Tensor) -> torch.Tensor:
    return METHODS["deep-lift"].attribute(TorchModel(module), x, Target(score), baseline=baseline)[0][0]


def theirs(module: nn.Module, x: torch.Tensor, baseline: torch.Tensor) -> torch.Tensor:
    return captum.attr.DeepLift(copy.deepcopy(module).eval()).attribute(x, baseline, target=3).detach()


def apart(a: torch.Tensor, b: torch.Tensor) -> float:
    """The largest difference in shares of the largest value."""
    return ((a - b).abs().max() / b.abs().max()).item()


def unexplained(module: nn.Module, found: torch.Tensor, x: torch.Tensor, baseline: torch.Tensor) -> float:
    with torch.no_grad():
        change = (module.eval()(x) - module.eval()(baseline))[:, 3]
    return ((found.flatten(1).sum(1) - change).abs() / change.abs()).max().item()


def images(size: int, n: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    return torch.randn(n, 3, size, size).double(), torch.randn(n, 3, size, size).double()


def small(pool: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), pool, nn.Conv2d(6, 8, 3), nn.ReLU(), nn.Flatten())
    return net.append(nn.LazyLinear(5)).double().eval()


def test_a_small_net_equals_captum() -> None:
    x, baseline = images(16)
    net = small(nn.AvgPool2d(2))
    net(x)
    assert apart(ours(net, x, baseline), theirs(net, x, baseline)) < 1e-5
    assert unexplained(net, ours(net, x, baseline), x, baseline) < 1e-10


class Functional(nn.Module):
    """A ReLU that is no module."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.one, self.two = nn.Conv2d(3, 6, 3), nn.Linear(6, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.two(F.relu(self.one(x)).mean((2, 3)))


def test_captum_does_not_see_a_functional_relu() -> None:
    x, baseline = images(16)
    net = Functional().double().eval()
    assert unexplained(net, ours(net, x, baseline), x, baseline) < 1e-10
    assert unexplained(net, theirs(net, x, baseline), x, baseline) > 1e-3


def test_captum_stops_at_a_relu_that_is_used_twice() -> None:
    x, baseline = images(64)
    net = torchvision.models.resnet18(num_classes=10).double().eval()
    assert unexplained(net, ours(net, x, baseline), x, baseline) < 1e-9
    with pytest.raises(RuntimeError, match="more than once"):
        theirs(net, x, baseline)


@pytest.mark.assets
def test_mobilenet_is_explained_as_a_whole(assets: Path) -> None:
    weights = str(ASSETS / "mobilenet_v2_torchvision.safetensors")
    module = sl.load("torchvision:mobilenet_v2", weights=weights).model.module.double().eval()  # type: ignore[attr-defined]
    image = Image.open(assets / "images" / "cat.png").convert("RGB").resize((224, 224))
    x = torch.as_tensor(np.asarray(image) / 127.5 - 1).movedim(-1, 0)[None].double()
    baseline = -torch.ones_like(x)
    assert unexplained(module, ours(module, x, baseline), x, baseline) < 1e-8
