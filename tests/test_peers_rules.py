"""DeepLIFT and relevance beside Captum's, where those are right, and the differences where they are not."""

from __future__ import annotations

import copy
from pathlib import Path

import captum.attr
import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
from captum.attr._core.deep_lift import SUPPORTED_NON_LINEAR, nonlinear
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


def ending(*layers: nn.Module) -> nn.Module:
    """The layers with random weights, and a head behind."""
    torch.manual_seed(0)
    net = nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(5)).double().eval()
    net(images(16)[0])
    for p in net.parameters():
        nn.init.normal_(p, std=0.3)
    return net


def test_a_small_net_equals_captum() -> None:
    x, baseline = images(16)
    net = ending(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(6, 8, 3), nn.ReLU())
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


@pytest.mark.parametrize("middle", ["relu and pool", "overlap", "relu and sigmoid"])
def test_captum_loses_its_way_where_windows_overlap_or_two_activations_meet(middle: str) -> None:
    """Unpooling overwrites what two windows give one cell; and of two non-linear modules in a row only one is met."""
    x, baseline = images(16)
    between = {
        "relu and pool": [nn.ReLU(), nn.MaxPool2d(2)],
        "overlap": [nn.MaxPool2d(3, 1)],
        "relu and sigmoid": [nn.ReLU(), nn.Sigmoid()],
    }
    net = ending(nn.Conv2d(3, 6, 3), *between[middle])
    assert unexplained(net, ours(net, x, baseline), x, baseline) < 1e-10
    assert unexplained(net, theirs(net, x, baseline), x, baseline) > 1e-3


def test_a_max_pool_alone_equals_captum() -> None:
    x, baseline = images(16)
    net = ending(nn.Conv2d(3, 6, 3), nn.MaxPool2d(2))
    assert apart(ours(net, x, baseline), theirs(net, x, baseline)) < 1e-10


def test_captum_takes_the_first_images_gradient_where_a_pool_is_not_moved() -> None:
    """Alone an image keeps the derivative there, in a batch it takes the first one's; sightline has 0 for what stays,
    as no winner of a dead window is better than another."""
    net, (x, baseline) = ending(nn.Conv2d(3, 6, 3), nn.MaxPool2d(2)), images(16)
    with torch.no_grad():
        net[0].weight[:, :, 1, 1] -= net[0].weight.sum((2, 3))  # a constant does not show behind it
    baseline[1] = x[1] - 1
    alone = theirs(net, x[1:], baseline[1:])
    assert apart(theirs(net, x, baseline)[1:], alone) > 0.1
    assert alone.sum().abs() < 1e-10 < 0.1 < alone.abs().max()
    assert ours(net, x, baseline)[1].abs().max() == 0


def mobilenet() -> nn.Module:
    weights = str(ASSETS / "mobilenet_v2_torchvision.safetensors")
    return sl.load("torchvision:mobilenet_v2", weights=weights).model.module.double().eval()  # type: ignore[attr-defined]


def cat() -> torch.Tensor:
    image = Image.open(ASSETS / "images" / "cat.png").convert("RGB").resize((224, 224))
    return torch.as_tensor(np.asarray(image) / 127.5 - 1).movedim(-1, 0)[None].double()


@pytest.mark.assets
def test_mobilenet_equals_captum_once_it_is_told_of_relu6(assets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ReLU6 is not among Captum's activations: it takes the derivative there, and misses the score's difference."""
    module, x = mobilenet(), cat()
    baseline = -torch.ones_like(x)
    found = ours(module, x, baseline)
    assert unexplained(module, found, x, baseline) < 1e-8
    assert unexplained(module, theirs(module, x, baseline), x, baseline) > 0.1
    monkeypatch.setitem(SUPPORTED_NON_LINEAR, nn.ReLU6, nonlinear)
    assert apart(found, theirs(module, x, baseline)) < 1e-10
