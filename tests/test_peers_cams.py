"""The CAM family beside pytorch-grad-cam, torchcam and Captum: equal where they are right, and where they differ, why."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import captum.attr
import numpy as np
import pytest
import pytorch_grad_cam
import torch
import torchcam.methods
import torchvision
from PIL import Image
from pytorch_grad_cam.utils.model_targets import ClassifierOutputReST, ClassifierOutputTarget
from torch import nn
from torch.nn import functional as F

import sightline as sl
from conftest import ASSETS
from sightline.frameworks.torch import TorchModel
from sightline.method import find
from sightline.methods._eigen import cells, first_component
from sightline.model import Target

FRAMEWORKS = ("torch",)
CLASS = 3


def score(outputs: torch.Tensor) -> torch.Tensor:
    return outputs[None, :, CLASS]


def ours(module: nn.Module, x: torch.Tensor, name: str, layer: str = "", **options: Any) -> torch.Tensor:
    model = TorchModel(module)
    x = model.array(x)
    if layer:
        options["layer"] = next(place for place in model.places(x) if place.name == layer)
    return find(name).attribute(model, x, Target(score), **options)[0][0]


def peer(module: nn.Module, x: torch.Tensor) -> tuple[nn.Module, torch.Tensor]:
    """A net that a peer may keep its hooks on, and the images in our memory layout."""
    return copy.deepcopy(module).eval(), TorchModel(module).array(x).clone(memory_format=torch.preserve_format)


def grad_cam(module: nn.Module, x: torch.Tensor, name: str, layer: str, target: Any = None) -> torch.Tensor:
    """pytorch-grad-cam's map before it is resized to the image and stretched to 0..1, both of which it always does."""
    module, x = peer(module, x)
    explainer = getattr(pytorch_grad_cam, name)(model=module, target_layers=[module.get_submodule(layer)])
    raw: list[Any] = []
    image = explainer.get_cam_image
    explainer.get_cam_image = lambda *given: raw.append(image(*given)) or raw[-1]
    explainer(input_tensor=x, targets=[target or ClassifierOutputTarget(CLASS)] * len(x))
    return torch.as_tensor(np.asarray(raw[0])).clamp(min=0)


def torch_cam(module: nn.Module, x: torch.Tensor, name: str, layer: str, **options: Any) -> torch.Tensor:
    """torchcam's map as it computes it; options in capitals are those of the call."""
    module, x = peer(module, x)
    of_call = {key.lower(): options.pop(key) for key in list(options) if key.isupper()}
    with getattr(torchcam.methods, name)(module, layer, **options) as explainer:
        return explainer(CLASS, module(x), normalized=False, **of_call)[0].detach().clamp(min=0)


def assert_close(found: torch.Tensor, expected: torch.Tensor, tolerance: float = 1e-5) -> None:
    assert found.shape == expected.shape
    assert expected.abs().max() > 0
    assert (found - expected).abs().max() <= tolerance * expected.abs().max()


def unit(cam: torch.Tensor) -> torch.Tensor:
    """Each map (n, h, w) between 0 and 1."""
    low, high = cam.amin((-2, -1), keepdim=True), cam.amax((-2, -1), keepdim=True)
    return (cam - low) / (high - low)


def apart(found: torch.Tensor, expected: torch.Tensor) -> float:
    """The largest difference of two normalised maps."""
    return float((unit(found) - unit(expected)).abs().max())


SAME = {  # ours: (pytorch-grad-cam's, torchcam's)
    "grad-cam": ("GradCAM", "GradCAM"),
    "hires-cam": ("HiResCAM", ""),
    "elementwise-grad-cam": ("GradCAMElementWise", ""),
    "xgrad-cam": ("XGradCAM", "XGradCAM"),
    "layer-cam": ("LayerCAM", "LayerCAM"),
}


def compare(module: nn.Module, x: torch.Tensor, layer: str) -> None:
    """Every map of gradients that they have too, and that they have right."""
    for name, (first, second) in SAME.items():
        found = ours(module, x, name, layer)
        assert_close(found, grad_cam(module, x, first, layer))
        if second:
            assert_close(found, torch_cam(module, x, second, layer))
    assert_close(ours(module, x, "shapley-cam", layer), grad_cam(module, x, "ShapleyCAM", layer, _rest()))
    assert_close(
        ours(module, x, "finer-cam", layer, references=2), torch_cam(module, x, "FinerCAM", layer, num_references=2)
    )
    product = captum.attr.LayerGradientXActivation
    net, images = peer(module, x)
    parts = product(net, net.get_submodule(layer)).attribute(images, target=CLASS).detach()
    assert_close(ours(module, x, "hires-cam", layer), parts.sum(1).clamp(min=0))
    assert_close(ours(module, x, "elementwise-grad-cam", layer), parts.clamp(min=0).sum(1))


def _rest() -> Any:
    return ClassifierOutputReST(CLASS)


def small_net(stride: int = 2, head: float = 1.0) -> nn.Module:
    """Convolutions, a hidden linear layer, five scores; "1" is a ReLU at the image's size for a stride of 1."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 5, stride, 2), nn.ReLU(), nn.Conv2d(6, 8, 3, 2, 1), nn.ReLU())
    net.extend([nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(72, 20), nn.ReLU(), nn.Linear(20, 5)])
    net[-1].weight.data *= head
    return net.double().eval()


def images(size: int = 24) -> torch.Tensor:
    return torch.randn(2, 3, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("layer", ["1", "3"])
def test_a_small_net_equals_its_peers(layer: str) -> None:
    compare(small_net(), images(), layer)


@pytest.mark.parametrize("layer", ["layer3", "layer4"])
def test_resnet18_equals_its_peers(layer: str) -> None:
    torch.manual_seed(0)
    module = torchvision.models.resnet18(num_classes=10).double().eval()
    compare(module, images(64), layer)
    if layer == "layer4":
        assert_close(ours(module, images(64), "cam", layer).clamp(min=0), torch_cam(module, images(64), "CAM", layer))


@pytest.fixture(scope="module")
def trained() -> nn.Module:
    """The trained net, with the cat (285) for its class number 3."""
    weights = str(ASSETS / "mobilenet_v2_torchvision.safetensors")
    module: nn.Module = copy.deepcopy(sl.load("torchvision:mobilenet_v2", weights=weights).model.module)  # type: ignore[attr-defined]
    for p in module.classifier[1].parameters():
        p.data[[CLASS, 285]] = p.data[[285, CLASS]]
    return module


@pytest.mark.assets
def test_the_trained_mobilenet_equals_its_peers(trained: nn.Module, assets: Path) -> None:
    image = Image.open(assets / "images" / "cat.png").convert("RGB").resize((160, 160))
    x = torch.as_tensor(np.asarray(image) / 127.5 - 1).movedim(-1, 0)[None].float()
    compare(trained, x, "features.18")
    assert_close(
        ours(trained, x, "cam", "features.18").clamp(min=0),
        torch_cam(trained, x, "CAM", "features.18", fc_layer="classifier.1"),
    )


def test_their_picture_is_our_map_resized_and_stretched() -> None:
    module, x = peer(small_net(), images())
    target = [ClassifierOutputTarget(CLASS)] * 2
    theirs = pytorch_grad_cam.GradCAM(model=module, target_layers=[module[3]])(input_tensor=x, targets=target)
    found = F.interpolate(unit(ours(small_net(), x, "grad-cam", "3"))[:, None], x.shape[2:], mode="bilinear")
    assert_close(unit(found[:, 0]), torch.as_tensor(theirs).double())


def test_grad_cam_plus_plus_is_theirs_where_gradients_are_large() -> None:
    """pytorch-grad-cam adds 1e-6 to 2 g² + g³ ΣA: too little to matter for scores a thousand times as large."""
    found = ours(small_net(head=1e4), images(), "grad-cam-plus-plus", "3")
    assert_close(found, grad_cam(small_net(head=1e4), images(), "GradCAMPlusPlus", "3"))


def test_theirs_fades_where_gradients_are_small() -> None:
    """With scores a hundredth as large, that 1e-6 is larger than the gradients' squares."""
    module = small_net(head=0.01)
    right, theirs = (
        f(module, images(), n, "3") for f, n in ((ours, "grad-cam-plus-plus"), (grad_cam, "GradCAMPlusPlus"))
    )
    assert apart(theirs, right) > 0.01
    assert theirs.max() < 0.1 * right.max()


def test_torchcams_grad_cam_plus_plus_has_no_denominator() -> None:
    """It divides a copy that is thrown away, so that a channel weighs the sum of g² max(g, 0)."""
    module, x = small_net(), images()
    model = TorchModel(module)
    trace = model.run(x, at=["3"], target=Target(score))
    a, g = trace.values["3"], trace.grads["3"][0]
    theirs = torch_cam(module, x, "GradCAMpp", "3")
    assert_close(theirs, ((g**2 * g.clamp(min=0)).sum((2, 3), keepdim=True) * a).sum(1).clamp(min=0), 1e-10)
    assert apart(theirs, ours(module, x, "grad-cam-plus-plus", "3")) > 0.01


def pooled_net() -> nn.Module:
    """Convolution, ReLU, mean over space, linear."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 5, 2, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5))
    net[-1].weight.data *= 1e3
    return net.double().eval()


def test_torchcams_smooth_grad_cam_plus_plus_is_right_where_the_gradient_is_the_same_everywhere() -> None:
    """It sums A g³ over the cells where the paper has the sum of A times g³ of the one cell."""
    options = {"num_samples": 1, "std": 1e-9}
    for module, layer, same in ((pooled_net(), "1", True), (small_net(head=1e4), "3", False)):
        found = ours(module, images(), "smooth-grad-cam-plus-plus", layer, samples=1, noise=0.0)
        theirs = torch_cam(module, images(), "SmoothGradCAMpp", layer, **options)
        assert (apart(theirs, found) < 1e-5) == same
        assert same or apart(theirs, found) > 1e-3


def test_ablation_cam_equals_theirs_behind_a_relu_and_for_a_positive_score() -> None:
    module = small_net()
    module[-1].bias.data[CLASS] = 1
    assert module(images())[:, CLASS].min() > 0
    assert_close(ours(module, images(), "ablation-cam", "3"), grad_cam(module, images(), "AblationCAM", "3").double())


def test_their_ablation_cam_puts_minus_ten_millions_where_a_layer_has_no_zero() -> None:
    """A convolution's output: it sets a channel 1e7 below the lowest value, and its map is that of the value it put."""
    module = pooled_net()
    module[1] = nn.Identity()
    module[-1].bias.data[CLASS] = 1e4
    right, theirs = ours(module, images(), "ablation-cam", "0"), grad_cam(module, images(), "AblationCAM", "0")
    assert theirs.max() > 1e3 * right.max() > 0


def test_their_ablation_cam_turns_over_for_a_negative_score() -> None:
    """It divides by the score, so that what speaks for the class is cut off."""
    module = small_net()
    module[-1].bias.data[CLASS] = -1
    assert module(images())[:, CLASS].max() < 0
    theirs = grad_cam(module, images(), "AblationCAM", "3").double()
    away = ours(module, images(), "ablation-cam", "3")
    assert float((theirs * away).sum()) < 0.5 * float((away * away).sum())


def test_score_cam_equals_theirs_where_the_layer_is_as_large_as_the_image() -> None:
    module = small_net(stride=1)
    found = ours(module, images(), "score-cam", "1")
    assert_close(found, grad_cam(module, images(), "ScoreCAM", "1").double())
    assert_close(found, torch_cam(module, images(), "ScoreCAM", "1"))
    assert_close(found, torch_cam(module, images(), "SSCAM", "1", num_samples=1, std=1e-12))


def test_score_cams_of_a_smaller_layer_differ_by_how_a_mask_is_made() -> None:
    """The paper resizes, then brings to 0..1. pytorch-grad-cam resizes corner to corner, torchcam brings to 0..1 first."""
    module, x = small_net(), images()
    large = F.interpolate(TorchModel(module).run(x, at=["1"]).values["1"], x.shape[2:], mode="bilinear")
    corners = F.interpolate(
        TorchModel(module).run(x, at=["1"]).values["1"], x.shape[2:], mode="bilinear", align_corners=True
    )
    first = F.interpolate(unit(TorchModel(module).run(x, at=["1"]).values["1"]), x.shape[2:], mode="bilinear")
    assert_close(ours(module, x, "score-cam", "1"), _by_masks(module, x, unit(large)))
    assert_close(grad_cam(module, x, "ScoreCAM", "1").double(), _by_masks(module, x, unit(corners)))
    assert_close(torch_cam(module, x, "ScoreCAM", "1"), _by_masks(module, x, first))


def _by_masks(module: nn.Module, x: torch.Tensor, *masks: torch.Tensor) -> torch.Tensor:
    """Softmax of the mean score through each channel's masks (n, c, h, w), over the feature map of "1"."""
    with torch.no_grad():
        features = module[:2](x)
        worth = torch.stack(
            [
                torch.stack([module(x * m[:, c, None])[:, CLASS] for m in masks]).mean(0)
                for c in range(features.shape[1])
            ],
            1,
        )
    return (worth.softmax(1)[:, :, None, None] * features).sum(1).clamp(min=0)


def test_torchcams_is_cam_begins_its_sums_at_one() -> None:
    """Mask i of N is the channel's times 1/N + ... + i/N; in the paper the sum goes from 0 to i - 1."""
    module, x = small_net(stride=1), images()
    mask, count = unit(module[:2](x).detach()), 4
    paper = [i * (i - 1) / (2 * count) * mask for i in range(1, count + 1)]
    theirs = [i * (i + 1) / (2 * count) * mask for i in range(1, count + 1)]
    assert_close(ours(module, x, "is-cam", "1", steps=count), _by_masks(module, x, *paper))
    assert_close(torch_cam(module, x, "ISCAM", "1", num_samples=count), _by_masks(module, x, *theirs))


@pytest.mark.parametrize(("name", "theirs"), [("eigen-cam", "EigenCAM"), ("eigen-grad-cam", "EigenGradCAM")])
def test_their_eigen_maps_are_centred_and_of_either_sign(name: str, theirs: str) -> None:
    """The paper projects the feature map as it is; centred, its component is about how cells differ, background or not."""
    module, x = small_net(), images()
    trace = TorchModel(module).run(x, at=["3"], target=Target(score))
    a = trace.values["3"] * (trace.grads["3"][0] if "grad" in name else 1)
    matrix = cells(a.movedim(1, -1))
    centred = first_component(matrix - matrix.mean(-2, keepdim=True)).reshape(2, *a.shape[2:])
    raw = grad_cam(module, x, theirs, "3").double()
    for i in range(2):
        both = [float((raw[i] - side.clamp(min=0)).abs().max()) for side in (centred[i], -centred[i])]
        assert min(both) < 1e-5 * raw[i].max() < max(both)
    assert apart(raw, ours(module, x, name, "3").clamp(min=0)) > 0.1


def test_kpca_cam_is_theirs_but_for_the_sign() -> None:
    module, x = small_net(), images()
    found, theirs = ours(module, x, "kpca-cam", "3"), grad_cam(module, x, "KPCA_CAM", "3").double()
    total = module[:4](x).detach().sum(1)
    assert sum(torch.allclose(f, t, rtol=0, atol=1e-5 * float(f.max())) for f, t in zip(found, theirs)) >= 1
    for cam, channels in zip(found, total):
        assert float((cam * (channels - channels.mean())).sum()) > 0


def test_their_fem_weighs_by_the_share_of_unusual_cells() -> None:
    """The paper has the sum of the masks, each times its channel's mean; theirs multiplies the feature map by the share."""
    module, x = small_net(), images()
    a = module[:4](x).detach()
    mean, deviation = a.mean((2, 3), keepdim=True), a.std((2, 3), keepdim=True, correction=0)
    mask = (a > mean + 2 * deviation).double()
    assert_close(ours(module, x, "fem", "3"), (mean * mask).sum(1))
    assert_close(grad_cam(module, x, "FEM", "3").double(), (mask.mean((2, 3), keepdim=True) * a).sum(1))


def test_their_finer_cam_weighs_the_references_by_probability() -> None:
    """And has another default; with the target's own class it goes by the sorted list, which is the paper's choice too."""
    module, x = small_net(head=20.0), images()
    net, given = peer(module, x)
    explainer = pytorch_grad_cam.FinerCAM(net, [net[3]])
    theirs = torch.as_tensor(explainer(input_tensor=given, alpha=0.6, target_idx=CLASS)).double()
    found = F.interpolate(unit(ours(module, x, "finer-cam", "3"))[:, None], x.shape[2:], mode="bilinear")[:, 0]
    assert apart(theirs, found) > 0.01


def test_fusions_equal_torchcams() -> None:
    module, x = small_net(), images()
    net, given = peer(module, x)
    with torchcam.methods.LayerCAM(net, ["1", "3"]) as explainer:
        each = explainer(CLASS, net(given))
        fused = explainer.fuse_cams([cam.detach() for cam in each])
    assert_close(ours(module, x, "layer-fusion", layers="1,3"), fused)
    net, given = peer(module, x)
    with torchcam.methods.RefineCAM(net, ["1", "3"], base_method=torchcam.methods.LayerCAM) as refined:
        product = refined(CLASS, net(given))[0]
    maps = [ours(module, x, "layer-cam", layer) for layer in ("1", "3")]
    assert max(float(m.min()) for m in maps) < 1e-3 * float(maps[0].max())  # so that they stretch what we divide
    assert_close(unit(ours(module, x, "refine-cam", of="layer-cam", layers="1,3")), product.detach(), 2e-3)
