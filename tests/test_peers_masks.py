"""The same numbers as Captum's perturbation methods, where Captum is right; and where it is not, the difference."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import captum.attr
import numpy as np
import pytest
import torch
import torchvision
from captum._utils.models.linear_model import SkLearnRidge
from PIL import Image
from torch import nn

import sightline as sl
from conftest import ASSETS
from sightline.frameworks.torch import TorchModel
from sightline.method import find
from sightline.methods import kernel_shap, lime, shapley_sampling
from sightline.methods._superpixels import superpixels
from sightline.model import Target

FRAMEWORKS = ("torch",)
CLASS = 3
SEGMENTS = 8
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def score(outputs: torch.Tensor) -> torch.Tensor:
    return outputs[None, :, CLASS]


def ours(module: nn.Module, x: torch.Tensor, name: str, **options: Any) -> torch.Tensor:
    model = TorchModel(module)
    x = model.array(x)
    return find(name).attribute(model, x, Target(score), baseline=torch.zeros_like(x), **options)[0][0]


def regions(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Our superpixels, as Captum's feature mask (1, 1, h, w)."""
    return torch.as_tensor(superpixels(TorchModel(module).array(x), -3, "slic", SEGMENTS))[:, None]


def theirs(method: Any, module: nn.Module, x: torch.Tensor, **options: Any) -> torch.Tensor:
    x = TorchModel(module).array(x)
    return method.attribute(x, target=CLASS, baselines=0, **options).detach()[:, 0]


def captum_of(name: str, module: nn.Module, *args: Any) -> Any:
    return getattr(captum.attr, name)(copy.deepcopy(module).eval(), *args)


def orders(features: Any, samples: int) -> Iterator[list[int]]:
    """Our draws, handed to Captum."""
    yield from (shapley_sampling._order(0, k, features).tolist() for k in range(samples))


class Given(captum.attr.LimeBase):
    """Captum's LIME on coalitions and with weights that are handed to it."""

    def __init__(self, module: nn.Module, z: np.ndarray, weights: np.ndarray, ridge: float) -> None:
        rows, each = iter(torch.as_tensor(z).long()[:, None]), iter(weights.tolist())
        super().__init__(
            copy.deepcopy(module).eval(),
            SkLearnRidge(alpha=ridge),
            similarity_func=lambda *_, **__: torch.tensor([next(each)]),
            perturb_func=lambda *_, **__: next(rows),
            perturb_interpretable_space=True,
            from_interp_rep_transform=lambda row, x, feature_mask, **__: row[0][feature_mask] * x,
            to_interp_rep_transform=None,
        )


def given(module: nn.Module, x: torch.Tensor, z: np.ndarray, weights: np.ndarray, ridge: float) -> torch.Tensor:
    """One image's coefficients by Captum, painted."""
    method, labels = Given(module, z, weights, ridge), regions(module, x)
    found = method.attribute(
        TorchModel(module).array(x), target=CLASS, n_samples=len(z), feature_mask=labels, num_interp_features=z.shape[1]
    )
    return found.reshape(-1)[labels[:, 0]].detach()


def compare(module: nn.Module, x: torch.Tensor, tolerance: float) -> None:
    """Everything that both have, of one image; the tolerance in shares of the largest value."""
    labels = regions(module, x)
    count = int(labels.max()) + 1
    orderly = captum_of("ShapleyValueSampling", module)
    orderly.permutation_generator = orders
    z = lime._draws(count, 40, 0)
    window = {"sliding_window_shapes": (3, 20, 12), "strides": (3, 12, 8)}
    pairs = {
        "occlusion": (
            {"window": (20, 12), "stride": (12, 8)},
            theirs(captum_of("Occlusion", module), module, x, **window),
        ),
        "superpixel-ablation": (
            {"segments": SEGMENTS},
            theirs(captum_of("FeatureAblation", module), module, x, feature_mask=labels),
        ),
        "shapley-sampling": (
            {"segments": SEGMENTS, "samples": 3},
            theirs(orderly, module, x, feature_mask=labels, n_samples=3),
        ),
        "lime": (
            {"segments": SEGMENTS, "samples": 40},
            given(module, x, z, lime._closeness(z.astype(float), 0.25), 1.0),
        ),
    }
    for name, (options, expected) in pairs.items():
        found = ours(module, x, name, **options)
        assert found.shape == expected.shape, name
        assert expected.abs().max() > 0, name
        assert (found - expected).abs().max() <= tolerance * expected.abs().max(), name


def small_net() -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 5, 2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3), nn.ReLU(), nn.Flatten())
    return net.append(nn.Linear(8 * 8 * 8, 5)).double().eval()


PICTURE = torch.as_tensor(np.random.default_rng(0).normal(size=(1, 3, 44, 44)))


def test_a_small_net_equals_captum() -> None:
    compare(small_net(), PICTURE, 1e-6)  # Captum sums in float32 whatever it is given


def test_resnet18_equals_captum() -> None:
    torch.manual_seed(0)
    net = (
        torchvision.models.resnet18(num_classes=10).double().eval()
    )  # in float32 small falls of the score are rounding
    compare(net, torch.randn(1, 3, 64, 64, dtype=torch.float64), 1e-5)


def test_captums_kernel_shap_is_near_ours_and_does_not_sum_exactly() -> None:
    """Captum draws both ends as samples of weight a million instead of holding them, and draws no pairs: its values
    miss the change of the score, and lie further from the exact ones than ours by as many passes."""
    net, labels = small_net(), regions(small_net(), PICTURE)
    count = int(labels.max()) + 1
    exact = ours(net, PICTURE, "kernel-shap", segments=SEGMENTS, samples=2**count)
    change = float(net(PICTURE)[0, CLASS] - net(0 * PICTURE)[0, CLASS])
    sums, gaps = [], []
    for found in (
        ours(net, PICTURE, "kernel-shap", segments=SEGMENTS, samples=40),
        *(captum_kernel_shap(net, labels, seed) for seed in range(3)),
    ):
        sums.append(abs(sum(float(found[labels[:, 0] == j][0]) for j in range(count)) - change))
        gaps.append(float((found - exact).abs().max() / exact.abs().max()))
    assert sums[0] < 1e-12
    assert min(sums[1:]) > 1e-9
    assert gaps[0] < 0.5 * np.mean(gaps[1:])
    assert np.mean(gaps[1:]) < 0.5


def captum_kernel_shap(net: nn.Module, labels: torch.Tensor, seed: int) -> torch.Tensor:
    torch.manual_seed(seed)
    return theirs(captum_of("KernelShap", net), net, PICTURE, feature_mask=labels, n_samples=40)


def test_kernel_shap_equals_captums_regression_on_the_same_coalitions() -> None:
    """All coalitions with the Shapley kernel, the ends with a weight so large that they hold."""
    net, labels = small_net(), regions(small_net(), PICTURE)
    z, weights = kernel_shap._design(int(labels.max()) + 1, 2**12, 0)
    ends = np.stack([np.ones(z.shape[1], bool), np.zeros(z.shape[1], bool)])
    found = given(net, PICTURE, np.concatenate([ends, z]), np.array([1e7, 1e7, *weights]), 0.0)
    exact = ours(net, PICTURE, "kernel-shap", segments=SEGMENTS, samples=2**12)
    assert (found - exact).abs().max() <= 1e-5 * exact.abs().max()


def test_captums_lime_weighs_by_the_pictures_not_by_the_superpixels() -> None:
    """Its cosine is that of the pixels' values, in float32, so that what a hidden part weighs hangs on how bright it is;
    Ribeiro et al. take it of the interpretable representation."""
    from captum.attr._core.lime import get_exp_kernel_similarity_function

    kernel = get_exp_kernel_similarity_function("cosine", 0.25)
    x = torch.ones(1, 1, 2, 2)
    x[0, 0, 0, 0] = 10.0
    bright, dark = x.clone(), x.clone()
    bright[0, 0, 0, 0], dark[0, 0, 1, 1] = 0, 0
    assert kernel(x, bright, None) < 0.1 < 0.9 < kernel(x, dark, None)
    z = np.array([[0, 1, 1, 1], [1, 1, 1, 0]], float)
    assert lime._closeness(z, 0.25)[0] == lime._closeness(z, 0.25)[1]


@pytest.mark.assets
def test_mobilenet_equals_captum(assets: Any) -> None:
    trained = sl.load("torchvision:mobilenet_v2", weights=str(ASSETS / "mobilenet_v2_torchvision.safetensors")).model
    image = Image.open(assets / "images" / "cat.png").convert("RGB").resize((96, 96))
    x = torch.as_tensor(np.asarray(image) / 127.5 - 1).movedim(-1, 0)[None].float()
    module = trained.module  # type: ignore[attr-defined]
    labels = regions(module, x)
    ablated = theirs(captum_of("FeatureAblation", module), module, x, feature_mask=labels)
    found = ours(module, x, "superpixel-ablation", segments=SEGMENTS)
    assert (found - ablated).abs().max() <= 1e-5 * ablated.abs().max()
    orderly = captum_of("ShapleyValueSampling", module)
    orderly.permutation_generator = orders
    sampled = theirs(orderly, module, x, feature_mask=labels, n_samples=2)
    found = ours(module, x, "shapley-sampling", segments=SEGMENTS, samples=2)
    assert (found - sampled).abs().max() <= 1e-5 * sampled.abs().max()
