"""The same numbers as Captum, where Captum is right; and real photographs through real weights."""

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
from nets import ON_CONVOLUTIONS
from sightline.frameworks.torch import TorchModel
from sightline.method import METHODS, find
from sightline.model import Target

FRAMEWORKS = ("torch",)
CLASS = 3


def score(outputs: torch.Tensor) -> torch.Tensor:
    return outputs[None, :, CLASS]


def ours(module: nn.Module, x: torch.Tensor, name: str, **options: Any) -> torch.Tensor:
    model = TorchModel(module)
    x = model.array(x)
    if "baseline" in find(name).params:
        options["baseline"] = torch.zeros_like(x)
    if "layer" in options:
        options["layer"] = next(layer for layer in model.places(x) if layer.name == options["layer"])
    return find(name).attribute(model, x, Target(score), **options)[0][0]


def theirs(module: nn.Module, x: torch.Tensor, name: str, layer: str = "", **options: Any) -> torch.Tensor:
    """Captum's answer, on a copy that its hooks may keep, in our memory layout."""
    module = copy.deepcopy(module).eval()
    x = TorchModel(module).array(x).clone(memory_format=torch.preserve_format)
    at = (module.get_submodule(layer),) if layer else ()
    return getattr(captum.attr, name)(module, *at).attribute(x, target=CLASS, **options).detach()


def compare(module: nn.Module, x: torch.Tensor, layer: str, rules: float, others: float) -> None:
    """Every method that both have; tolerances in shares of the largest value."""
    path = {"n_steps": 6, "method": "riemann_middle", "baselines": 0}
    window = {"sliding_window_shapes": (3, 20, 20), "strides": (3, 12, 12), "baselines": 0}
    rounded = max(others, 1e-7)  # Captum lays a path's points, and sums occlusions, in float32 whatever it is given
    pairs = {
        "guided-backprop": (rules, {}, theirs(module, x, "GuidedBackprop")),
        "deconvnet": (rules, {}, theirs(module, x, "Deconvolution")),
        "gradient": (others, {}, theirs(module, x, "Saliency", abs=False)),
        "input-x-gradient": (others, {}, theirs(module, x, "InputXGradient")),
        "integrated-gradients": (rounded, {"steps": 6}, theirs(module, x, "IntegratedGradients", **path)),
        "occlusion": (rounded, {"window": 20, "stride": 12}, theirs(module, x, "Occlusion", **window)[:, 0]),
        "grad-cam": (others, {"layer": layer}, theirs(module, x, "LayerGradCam", layer, relu_attributions=True)[:, 0]),
    }
    for name, (tolerance, options, expected) in pairs.items():
        found = ours(module, x, name, **options)
        assert found.shape == expected.shape, name
        assert expected.abs().max() > 0, name
        assert (found - expected).abs().max() <= tolerance * expected.abs().max(), name


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_resnet50_equals_captum() -> None:
    torch.manual_seed(0)
    module = torchvision.models.resnet50(num_classes=10).double().eval()  # in float32 we lay it out otherwise
    compare(module, torch.randn(2, 3, 64, 64).double(), "layer4", 1e-9, 1e-9)


def small_net() -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 5, 2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3), nn.ReLU(), nn.Flatten())
    return net.append(nn.Linear(8 * 8 * 8, 5)).double().eval()


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_small_net_equals_captum_in_float64() -> None:
    compare(small_net(), torch.randn(2, 3, 44, 44, dtype=torch.float64), "3", 1e-10, 1e-10)


@pytest.fixture(scope="module")
def trained() -> nn.Module:
    weights = str(ASSETS / "mobilenet_v2_torchvision.safetensors")
    return sl.load("torchvision:mobilenet_v2", weights=weights).model.module  # type: ignore[attr-defined,no-any-return]


PREPROCESS = "resize=224,crop=224,mean=0.5,std=0.5"
ANSWERS = {
    "cat.png": 285,
    "daisy.png": 985,
    "dragonfly.png": 319,
    "chickadee.png": 19,
    "hot_dog.jpg": 934,
    "parrot.jpg": 88,
    "poodle.png": 265,
    "samoyed_with_mask.png": 258,
    "bird_with_mask.png": 21,
}


@pytest.mark.assets
def test_every_photograph_gets_its_class(trained: nn.Module, assets: Path) -> None:
    files = [assets / "images" / name for name in ANSWERS]
    e = sl.explain(trained, files, preprocess=PREPROCESS)
    assert [t["index"] for t in e.target] == list(ANSWERS.values())
    sure = dict(zip(ANSWERS, (top[0]["probability"] for top in e.top)))
    assert sure["cat.png"] == pytest.approx(0.61, abs=0.05)
    assert sure["daisy.png"] == pytest.approx(0.97, abs=0.02)


@pytest.mark.assets
@pytest.mark.parametrize(("name", "least"), [("samoyed", 0.8), ("bird", 0.4)])
def test_grad_cam_lies_on_the_object(trained: nn.Module, assets: Path, name: str, least: float) -> None:
    picture, mask = (assets / "images" / f"{name}_{kind}.png" for kind in ("with_mask", "mask"))
    e = sl.explain(trained, picture, preprocess=PREPROCESS)
    inside = np.asarray(Image.open(mask).convert("L")) > 127
    heat = e.on_original()
    assert heat.shape == inside.shape
    assert inside.mean() < 0.6 * least / 0.8
    assert heat.min() >= 0
    assert heat[inside].sum() / heat.sum() >= least


FEW = {"steps": 3, "samples": 3, "window": 75, "stride": 75}


MANY = ("a channel", "a cell")  # a pass for each: there are 1,280 and 49
QUICK = [name for name in ON_CONVOLUTIONS if not any(each in METHODS[name].cost for each in MANY)]


@pytest.mark.assets
@pytest.mark.parametrize("name", QUICK)
def test_in_float32_a_batch_gives_what_each_image_gives(trained: nn.Module, assets: Path, name: str) -> None:
    files = [assets / "images" / name for name in ("cat.png", "daisy.png", "parrot.jpg", "poodle.png")]
    few = {key: value for key, value in FEW.items() if METHODS[name].takes(key, {})}
    together = sl.explain(trained, files, method=name, preprocess=PREPROCESS, **few)
    alone = sl.explain(trained, files[3], method=name, preprocess=PREPROCESS, **few)
    least = 0.98 if name == "guided-integrated-gradients" else 0.9999  # its path follows the order of rounded gradients
    assert np.corrcoef(together.map[3].ravel(), alone.map[0].ravel())[0, 1] > least


@pytest.mark.assets
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_mobilenet_equals_captum_but_for_relu6(trained: nn.Module, assets: Path) -> None:
    """Captum's guided backprop bends nn.ReLU alone; this net has only ReLU6, so that it gives the plain gradient.

    In float64: in float32 its batch norms are folded, and gates that rounding opens or shuts move the gradient by 1e-2.
    """
    trained = copy.deepcopy(trained).double()
    image = Image.open(assets / "images" / "cat.png").convert("RGB").resize((224, 224))
    x = torch.as_tensor(np.asarray(image) / 127.5 - 1).movedim(-1, 0)[None]
    gradient = theirs(trained, x, "Saliency", abs=False)
    largest = gradient.abs().max()
    assert (ours(trained, x, "gradient") - gradient).abs().max() <= 1e-9 * largest
    assert (theirs(trained, x, "GuidedBackprop") - gradient).abs().max() <= 1e-9 * largest
    assert (ours(trained, x, "guided-backprop") - gradient).abs().max() > 0.1 * largest
    cam = theirs(trained, x, "LayerGradCam", "features.18", relu_attributions=True)[:, 0]
    assert (ours(trained, x, "grad-cam", layer="features.18") - cam).abs().max() <= 1e-9 * cam.abs().max()
    window = {"sliding_window_shapes": (3, 80, 80), "strides": (3, 72, 72), "baselines": 0}
    fall = theirs(trained, x, "Occlusion", **window)[:, 0]  # which Captum adds up in float32
    assert (ours(trained, x, "occlusion", window=80, stride=72) - fall).abs().max() <= 1e-7 * fall.abs().max()
