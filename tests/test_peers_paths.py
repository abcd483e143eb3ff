"""Gradients and paths beside Captum and pytorch-grad-cam: the same numbers where they are right, and where they are not."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import captum.attr
import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torch import nn

import sightline as sl
from conftest import ASSETS
from sightline.arrays import normal
from sightline.frameworks.torch import TorchModel
from sightline.method import find
from sightline.methods.expected_gradients import _draw
from sightline.methods.full_grad import full_gradient
from sightline.model import Target

FRAMEWORKS = ("torch",)
CLASS, SAMPLES = 3, 4
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def score(outputs: torch.Tensor) -> torch.Tensor:
    return outputs[None, :, CLASS]


def ours(module: nn.Module, x: torch.Tensor, name: str, **options: Any) -> torch.Tensor:
    model = TorchModel(module)
    options = {key: tuple(map(model.array, v)) if isinstance(v, tuple) else v for key, v in options.items()}
    return find(name).attribute(model, model.array(x), Target(score), **options)[0][0]


def small_net() -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 5, 2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3), nn.ReLU(), nn.Flatten())
    return net.append(nn.Linear(8 * 8 * 8, 5)).double().eval()


def residual_net() -> nn.Module:
    torch.manual_seed(0)
    net = torchvision.models.resnet18(num_classes=10).eval()
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_(std=0.1)  # type: ignore[union-attr]
            part.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
            nn.init.normal_(part.bias, std=0.1)
    return net


@pytest.fixture(scope="module")
def trained() -> nn.Module:
    weights = str(ASSETS / "mobilenet_v2_torchvision.safetensors")
    return sl.load("torchvision:mobilenet_v2", weights=weights).model.module  # type: ignore[attr-defined,no-any-return]


def photograph(assets: Path) -> torch.Tensor:
    image = Image.open(assets / "images" / "cat.png").convert("RGB").resize((96, 96))
    return torch.as_tensor(np.asarray(image) / 127.5 - 1).movedim(-1, 0)[None].float()


def captums_shap(
    module: nn.Module, x: torch.Tensor, backgrounds: torch.Tensor, noise: float, monkeypatch: pytest.MonkeyPatch
) -> torch.Tensor:
    """Captum's GradientShap by our draws: sample after sample of each image."""
    which, points = zip(*(_draw(len(backgrounds), 0, k) for k in range(SAMPLES)))
    drawn = torch.stack([normal(x, 0, k) for k in range(SAMPLES)])
    spread = x.amax((1, 2, 3)) - x.amin((1, 2, 3))
    noises = torch.cat([noise * s * drawn for s in spread])
    with monkeypatch.context() as patch:
        patch.setattr(np.random, "choice", lambda count, n: np.array(which * (n // SAMPLES)))
        patch.setattr(np.random, "uniform", lambda low, high, n: np.array(points * (n // SAMPLES)))
        patch.setattr(torch, "normal", lambda mean, deviation: noises)
        shap = captum.attr.GradientShap(copy.deepcopy(module))
        return shap.attribute(x, backgrounds, n_samples=SAMPLES, stdevs=1.0, target=CLASS).detach()


def compare_shap(module: nn.Module, x: torch.Tensor, tolerance: float, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(1)
    backgrounds = torch.randn((3, *x.shape[1:]), generator=generator, dtype=x.dtype)
    for name, noise in (("gradient-shap", 0.1), ("expected-gradients", 0.0)):
        expected = captums_shap(module, x, backgrounds, noise, monkeypatch)
        options: dict[str, Any] = {"backgrounds": tuple(b[None] for b in backgrounds), "samples": SAMPLES}
        found = ours(module, x, name, **options | ({"noise": noise} if noise else {}))
        assert expected.abs().max() > 0
        assert (found - expected).abs().max() <= tolerance * expected.abs().max(), name


def test_gradient_shap_of_a_small_net_is_captums(monkeypatch: pytest.MonkeyPatch) -> None:
    compare_shap(small_net(), torch.randn(2, 3, 44, 44, dtype=torch.float64), 1e-6, monkeypatch)


def test_gradient_shap_of_resnet18_is_captums(monkeypatch: pytest.MonkeyPatch) -> None:
    compare_shap(residual_net().double(), torch.randn(2, 3, 64, 64).double(), 1e-9, monkeypatch)


@pytest.mark.assets
def test_gradient_shap_of_mobilenet_is_captums(
    trained: nn.Module, assets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In float64: in float32 another order of sums moves a ReLU's gate, and a map of four samples by a hundredth."""
    compare_shap(copy.deepcopy(trained).double(), photograph(assets).double(), 1e-5, monkeypatch)


def test_the_mean_over_baselines_is_that_of_captums_integrated_gradients() -> None:
    for module, x in (
        (small_net(), torch.randn(2, 3, 44, 44, dtype=torch.float64)),
        (residual_net(), torch.randn(2, 3, 64, 64)),
    ):
        baselines = (torch.zeros_like(x), x.mean((2, 3), keepdim=True).expand_as(x).clone())
        each = captum.attr.IntegratedGradients(copy.deepcopy(module))
        options: dict[str, Any] = {"target": CLASS, "n_steps": 5, "method": "riemann_middle"}
        expected = sum(each.attribute(x, b, **options) for b in baselines) / 2
        found = ours(module, x, "integrated-gradients", baseline=baselines, steps=5)
        assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


def full_grad_of_a_peer(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """pytorch-grad-cam's FullGrad of the first image, stretched to 0..1 as it leaves it."""
    from pytorch_grad_cam import FullGrad
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    with FullGrad(copy.deepcopy(module), []) as peer:
        return torch.as_tensor(peer(x, targets=[ClassifierOutputTarget(CLASS)])[0])


def stretched(a: torch.Tensor) -> torch.Tensor:
    return (a - a.min()) / (a.max() - a.min())


def test_full_grad_is_that_of_pytorch_grad_cam_but_for_small_scores() -> None:
    """It adds 1e-7 to each maximum before it divides, so that its map depends on the unit of the score."""
    module, x = residual_net(), torch.randn(1, 3, 48, 64)
    found = stretched(ours(module, x, "full-grad"))[0]
    for times, least, most in ((1e5, 0.0, 1e-4), (1e-5, 0.05, 1.0)):
        other = copy.deepcopy(module)
        other.fc.weight.data *= times  # type: ignore[union-attr,operator]
        other.fc.bias.data *= times  # type: ignore[union-attr,operator]
        assert (stretched(ours(other, x, "full-grad"))[0] - found).abs().max() < 1e-4
        assert least <= (full_grad_of_a_peer(other, x) - found).abs().max() <= most


def test_full_grad_of_relu6_has_parts_that_pytorch_grad_cam_leaves_out() -> None:
    """The ceiling of ReLU6 adds a constant: without it the parts do not sum to the score, which the peer never checks."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU6(), nn.Conv2d(4, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    module.append(nn.Linear(4, 5)).eval()
    x = 40 * torch.randn(1, 3, 24, 24)
    model = TorchModel(module)
    parts = full_gradient(model, x, Target(score))
    bent = [part.sum() for layer, part in parts.biases if layer.kind == "relu6"]
    assert abs(float(bent[0])) > 0.1 * abs(float(parts.score))
    found, peer = stretched(ours(module, x, "full-grad"))[0], full_grad_of_a_peer(module, x)
    assert (found - peer).abs().max() > 0.05
