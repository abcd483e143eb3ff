"""Errors of other libraries on PyTorch, seen in them by running; each test shows that sightline does not make it.

The numbers run on through the modules `test_peers_errors*.py`.
"""

from __future__ import annotations

import copy
import threading
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import paper
import sightline as sl
from nets import ON_CONVOLUTIONS, build, snapshot, training_step
from sightline.frameworks.torch import TorchModel
from sightline.layers import choose_layer
from sightline.method import METHODS
from sightline.model import Target

FRAMEWORKS = ("torch",)
NET = paper.small_net()
IMAGES = np.random.default_rng(0).normal(size=(3, 12, 12, 3))
FEW = {"steps": 2, "samples": 2, "window": 5, "stride": 4}
each_method = pytest.mark.parametrize("name", ON_CONVOLUTIONS)


def batch() -> torch.Tensor:
    return torch.as_tensor(IMAGES.transpose(0, 3, 1, 2).copy())


def few(name: str) -> dict[str, int]:
    return {key: value for key, value in FEW.items() if METHODS[name].takes(key, {})}


def class_3(outputs: torch.Tensor) -> torch.Tensor:
    return outputs[None, :, 3]


def whole(outputs: torch.Tensor) -> torch.Tensor:
    return outputs.flatten(1).sum(1)[None]


def found(module: nn.Module, name: str, x: torch.Tensor, score: Any = class_3, **options: Any) -> torch.Tensor:
    """The attribution (n, ...) in the module's own precision."""
    model = TorchModel(module)
    x = model.array(x)
    if "layer" in METHODS[name].needs:
        options["layer"] = choose_layer(model.places(x), options.get("layer"))
    return METHODS[name].attribute(model, x, Target(score), **options)[0][0]


def explained(module: Any, images: Any, **options: Any) -> sl.Explanation:
    answer = sl.explain(module, images, **options)
    assert isinstance(answer, sl.Explanation)
    return answer


class Functional(nn.Module):
    """The small net with its ReLUs as functions, in place and not."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = build(NET)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        net = self.layers
        x = net.pool1(F.relu(net.conv1(x)))
        return net.head(net.flatten(net.mean(torch.relu_(net.conv2(x)))))


@pytest.mark.parametrize("name", ["guided-backprop", "deconvnet"])
def test_01_relu_called_as_a_function_is_bent_too(name: str) -> None:
    """captum GuidedBackprop, Deconvolution: modules `nn.ReLU` alone; with F.relu silently the plain gradient."""
    expected = found(build(NET), name, batch())
    np.testing.assert_allclose(found(Functional(), name, batch()), expected, atol=1e-12)
    assert (expected - found(build(NET), "gradient", batch())).abs().max() > 1e-3


@pytest.mark.parametrize("name", ["guided-backprop", "deconvnet"])
def test_02_relu6_is_bent_too(name: str) -> None:
    """pytorch-grad-cam GuidedBackpropReLUModel: on a net of ReLU6 (MobileNetV2) silently the plain gradient."""
    net = build(NET)
    sixes = nn.Sequential(*[nn.ReLU6() if isinstance(m, nn.ReLU) else m for m in net])
    tame = 0.05 * batch()  # no value reaches 6, so that both nets are one
    np.testing.assert_allclose(found(sixes, name, tame), found(net, name, tame), atol=1e-12)
    assert (found(sixes, name, tame) - found(sixes, "gradient", tame)).abs().max() > 1e-3


@each_method
def test_03_a_second_call_gives_what_the_first_gave(name: str) -> None:
    """pytorch-grad-cam GuidedBackpropReLUModel: `input.grad` adds up, the same tensor again gives twice the gradient;
    captum LRP: rules that the user set are deleted by the first call."""
    module, x = build(NET), batch().requires_grad_()
    first, second = (explained(module, x, method=name, **few(name)) for _ in range(2))
    np.testing.assert_array_equal(first.attribution, second.attribution)
    assert x.grad is None


@pytest.mark.parametrize("name", ["gradient", "grad-cam", "guided-backprop", "integrated-gradients"])
def test_04_the_users_gradients_stay_and_a_frozen_model_will_do(name: str) -> None:
    """pytorch-grad-cam BaseCAM.forward: `zero_grad` and `backward` wipe the user's own gradients, fill those of all
    62 parameters of ResNet-18, leave the model in eval(), and a frozen model raises."""
    module = build(NET).train()
    for p in module.parameters():
        p.grad = torch.full_like(p, 7.0)
    before = snapshot(module)
    expected = explained(module, batch(), method=name, **few(name)).attribution
    assert snapshot(module) == before
    assert module.training
    module.requires_grad_(False)
    np.testing.assert_array_equal(explained(module, batch(), method=name, **few(name)).attribution, expected)


@each_method
def test_05_one_target_holds_for_every_image_of_a_batch(name: str) -> None:
    """pytorch-grad-cam: `zip(targets, outputs)` is cut silently: of two images with one target the second map is
    zero; GuidedBackpropReLUModel explains the first image alone."""
    together = explained(build(NET), batch(), method=name, target=2, **few(name))
    for i in range(3):
        alone = explained(build(NET), batch()[i : i + 1], method=name, target=2, **few(name))
        largest = np.abs(alone.attribution[0]).max()
        assert largest > 0
        np.testing.assert_allclose(together.attribution[i], alone.attribution[0], rtol=0, atol=1e-6 * largest)


@each_method
def test_06_modules_parameters_and_hooks_are_the_users_own_afterwards(name: str) -> None:
    """pytorch-grad-cam GuidedBackpropReLUModel: all ReLUs become one shared module, no longer in place; captum
    GuidedBackprop: 10 hooks left after 5 calls; captum LRP: `.activations` left on modules; zennit at HEAD: parameters
    are new objects, `.bias` keys are added, the optimiser no longer owns what it trains."""
    module = build(NET)
    optimiser = torch.optim.SGD(module.parameters(), lr=0.1)
    before, modules, keys = snapshot(module), list(module.modules()), list(module.state_dict())
    for _ in range(3):
        explained(module, batch(), method=name, **few(name))
    assert snapshot(module) == before
    assert all(a is b for a, b in zip(module.modules(), modules, strict=True))
    assert all(m.inplace for m in modules if isinstance(m, nn.ReLU))
    assert list(module.state_dict()) == keys
    assert all(a is b for a, b in zip(module.parameters(), optimiser.param_groups[0]["params"], strict=True))


class Breaks(nn.Module):
    """Raises in its forward pass as long as it is told to."""

    def __init__(self, error: type[Exception]) -> None:
        super().__init__()
        self.error: type[Exception] | None = error

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.error is not None:
            raise self.error("broken")
        return x


@pytest.mark.parametrize("name", ON_CONVOLUTIONS)
def test_07_an_exception_is_told_and_leaves_nothing_behind(name: str) -> None:
    """pytorch-grad-cam BaseCAM.__exit__ swallows an IndexError; AblationCAM leaves its layer in the model after an
    exception; captum leaves requires_grad on the user's input."""
    net, breaks = build(NET), Breaks(IndexError)
    module, x = nn.Sequential(*list(net)[:5], breaks, *list(net)[5:]), batch()
    before = snapshot(module)
    with pytest.raises(sl.ModelError, match="broken"):
        explained(module, x, method=name, **few(name))
    assert snapshot(module) == before
    assert not x.requires_grad
    breaks.error = None
    expected = explained(net, x, method=name, **few(name)).attribution
    again = explained(module, x, method=name, **few(name)).attribution
    np.testing.assert_allclose(again, expected, rtol=0, atol=1e-6 * np.abs(expected).max())


def test_08_an_occlusion_in_float64_is_one() -> None:
    """captum Occlusion: `.float()` makes the map of a model in float64 one of float32."""
    model, x = build(NET), batch()
    fall = found(model, "occlusion", x, window=5, stride=4, baseline=torch.zeros_like(x))
    assert fall.dtype == torch.float64
    expected = paper.occlusion(NET, IMAGES[0], 3, np.zeros_like(IMAGES[0]), 5, 4)
    np.testing.assert_allclose(fall[0], expected, rtol=0, atol=1e-13 * np.abs(expected).max())


@pytest.mark.parametrize("name", ["guided-backprop", "deconvnet", "grad-cam", "gradient"])
def test_09_a_users_hook_that_does_nothing_changes_nothing(name: str) -> None:
    """captum DeepLift skips modules that have a backward hook already, and gives another map."""
    expected = found(build(NET), name, batch())
    module, seen = build(NET), []
    module.relu1.inplace = module.relu2.inplace = False  # PyTorch itself refuses a backward hook before one in place
    for layer in (module.relu1, module.relu2, module.conv2):
        layer.register_full_backward_hook(lambda m, given, out: None)
        layer.register_forward_hook(lambda m, given, out: seen.append(m) and None)
    np.testing.assert_allclose(found(module, name, batch()), expected, atol=1e-14)


@each_method
def test_10_a_model_in_training_mode_is_explained_as_it_predicts(name: str) -> None:
    """captum never calls eval(): with dropout and batch statistics each call gives another map."""
    torch.manual_seed(1)
    net = build(NET)
    layers = [*list(net)[:3], nn.BatchNorm2d(4).double(), *list(net)[3:6], nn.Dropout(0.5), net.flatten, net.head]
    module = nn.Sequential(*layers)
    expected = explained(copy.deepcopy(module).eval(), batch(), method=name, **few(name))
    answer = explained(module.train(), batch(), method=name, **few(name))
    np.testing.assert_array_equal(answer.attribution, expected.attribution)
    np.testing.assert_array_equal(answer.score, expected.score)


def test_11_a_window_does_not_come_in_again_at_the_other_edge() -> None:
    """zennit Occlusion rolls its window round to the other edge where the stride does not divide the side, and by
    default keeps the window instead of hiding it."""
    x = torch.zeros(1, 1, 1, 10, dtype=torch.float64)
    x[..., 0] = 5.0  # all that counts stands at the left edge
    fall = found(nn.Flatten(), "occlusion", x, whole, window=4, stride=3, baseline=torch.zeros_like(x))[0, 0]
    np.testing.assert_array_equal(fall, [5, 5, 5, 2.5, 0, 0, 0, 0, 0, 0])


def test_12_overlapping_windows_are_averaged() -> None:
    """xplique Occlusion sums overlapping windows: a picture of which all counts alike has 48 in its corner and 192 in
    its middle."""
    x = torch.ones(1, 1, 12, 12, dtype=torch.float64)
    fall = found(nn.Flatten(), "occlusion", x, whole, window=4, stride=2, baseline=torch.zeros_like(x))
    np.testing.assert_allclose(fall, 16.0)


def test_13_an_oblong_picture_keeps_its_sides() -> None:
    """tf-explain OcclusionSensitivity swaps rows and columns: 16 x 48 pixels give a map of 48 x 16, its peak in the
    wrong place."""
    x = torch.zeros(1, 1, 16, 48, dtype=torch.float64)
    x[0, 0, 3, 40] = 1
    for name in ("occlusion", "gradient", "integrated-gradients"):
        options = {"window": 2, "stride": 1} if name == "occlusion" else {}
        options |= {"baseline": torch.zeros_like(x)} if "baseline" in METHODS[name].params else {}
        heat = found(nn.Flatten(), name, x, lambda outputs: (outputs**2).sum(1)[None], **options).reshape(16, 48)
        assert np.unravel_index(int(heat.abs().argmax()), heat.shape) == (3, 40)


def test_14_what_is_hidden_is_black_in_the_pictures_own_units() -> None:
    """tf-explain hides by the value 127.5, whatever the range of the input: a picture of 0..1 gets 127.5."""
    seen = []

    class Sees(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append((float(x.min()), float(x.max())))
            return x.mean((2, 3))

    picture = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    explained(Sees(), picture, method="occlusion", preprocess="crop=8", window=4, stride=4)
    assert min(low for low, _ in seen) >= 0
    assert max(high for _, high in seen) <= 1


def test_15_occlusion_takes_whole_numbers() -> None:
    """PAIR Occlusion raises on a picture of uint8."""
    picture = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    answer = explained(build(NET), picture, method="occlusion", preprocess="crop=8", window=4, stride=4)
    assert np.abs(answer.map).max() > 0


def test_16_a_layer_before_an_in_place_relu_will_do() -> None:
    """TorchRay grad_cam on a layer followed by an in-place ReLU raises "a leaf Variable ..."."""
    assert build(NET).relu2.inplace
    cam = found(build(NET), "grad-cam", batch(), layer="conv2")
    features = torch.as_tensor(np.stack([paper.forward(NET, image)[4] for image in IMAGES]))
    g = torch.as_tensor(np.stack([paper.backward(NET, image, 3, at="conv2") for image in IMAGES]))
    np.testing.assert_allclose(cam, (features * g.mean((1, 2), keepdim=True)).sum(-1).clamp(min=0), atol=1e-12)


@pytest.mark.parametrize("name", ["grad-cam", "guided-backprop", "gradient"])
def test_17_two_threads_on_one_model_get_their_own_maps(name: str) -> None:
    """pytorch-grad-cam: 2 of 4 calls wrong, with 60 the process aborts; captum LayerGradCam: 23 of 60 raise; torchcam
    and zennit: wrong maps and exceptions. The user's own training beside them."""
    module = build(NET)
    expected = [explained(module, batch()[i : i + 1], method=name).attribution for i in range(2)]
    gradients = training_step(module)
    wrong: list[str] = []

    def ask(i: int) -> None:
        for _ in range(20):
            if not np.allclose(explained(module, batch()[i : i + 1], method=name).attribution, expected[i], atol=1e-6):
                wrong.append("map")

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(10):
        if not all(np.array_equal(a, b) for a, b in zip(training_step(module), gradients)):
            wrong.append("training")
    for thread in threads:
        thread.join()
    assert wrong == []


def test_18_grad_cam_does_not_move_when_the_scores_are_scaled() -> None:
    """pytorch-grad-cam GradCAMPlusPlus: scores times 100 move the normalised map by 0.47. (Grad-CAM++ itself has a
    test of its own with the other CAMs.)"""
    loud = build(NET)
    with torch.no_grad():
        loud.head.weight.mul_(100), loud.head.bias.mul_(100)
    quiet, scaled = (found(m, "grad-cam", batch()) for m in (build(NET), loud))
    assert quiet.amax() > 0
    np.testing.assert_allclose(scaled / scaled.amax(), quiet / quiet.amax(), atol=1e-12)


def test_19_a_map_without_evidence_stays_zero() -> None:
    """keras-vis visualize_cam divides by the largest gradient: where all are negative the sign flips, and a map that is
    zero everywhere shows 89.95; keras.io's Grad-CAM divides by a maximum that may be zero."""
    net = build(NET)
    with torch.no_grad():
        net.head.weight.copy_(-net.head.weight.abs())
    answer = explained(net, batch(), method="grad-cam", target=3)
    np.testing.assert_array_equal(answer.map, 0)
    np.testing.assert_array_equal(answer.checks["zeros"], 1)


def test_20_gradients_of_the_neighbours_do_not_enter_a_cam() -> None:
    """keras-vis visualize_cam, keras.io grad_cam.py and tutorials after it: the weights are means over the batch too."""
    cam = found(build(NET), "grad-cam", batch())
    for i, image in enumerate(IMAGES):
        np.testing.assert_allclose(cam[i], paper.grad_cam(NET, image, 3, "relu2"), atol=1e-12)


class Squares(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x**2).sum((2, 3))


def test_21_smoothgrad_averages_gradients_with_their_signs() -> None:
    """tf-keras-vis Saliency averages |g| of each sample: of the sum of squares at 0, where the truth is 0, it tells
    1.617. PAIR's GetSmoothedMask squares them by default."""
    x = torch.zeros(1, 3, 8, 8, dtype=torch.float64)
    x[:, 0, 0, 0] = 1  # so that there is a range to take the noise from
    smooth = found(Squares(), "smoothgrad", x, whole, samples=400, noise=1.0)[0, 1:]
    assert smooth.abs().mean() < 3 * 2 / np.sqrt(400)
    assert smooth.min() < 0 < smooth.max()


class Cubes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("precision", torch.zeros(1, dtype=torch.float64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x**3).sum((2, 3))


def test_22_a_path_is_summed_by_a_rule_that_converges_fast_and_tells_its_error() -> None:
    """PAIR IntegratedGradients takes a plain mean with both ends: of x^3 12.5 % too much at 5 steps, 2.1 % at 25."""
    x = torch.full((1, 3, 4, 4), 1.5, dtype=torch.float64)
    for steps in (5, 25):
        got, checks = METHODS["integrated-gradients"].attribute(
            TorchModel(Cubes()), x, Target(whole), baseline=torch.zeros_like(x), steps=steps
        )
        total = float(got.sum()) / (48 * 1.5**3)
        assert total == pytest.approx(1 - 1 / (4 * steps**2), rel=1e-12)
        assert float(checks["residual"][0, 0]) == pytest.approx(1 / (4 * steps**2), rel=1e-9)


def test_23_scores_are_those_before_a_softmax_of_whatever_kind() -> None:
    """xplique WhiteBoxExplainer ignores output_layer; tf-explain VanillaGradients keeps the softmax and only warns;
    three of the four tutorials differentiate it. The map is one of the probability, and vanishes where that is sure."""
    net = build(NET)
    expected = explained(net, batch(), target=2, method="gradient")
    for head in (nn.Softmax(1), nn.LogSoftmax(1), nn.Sequential(nn.Softmax(1), nn.Flatten())):
        answer = explained(nn.Sequential(net, head), batch(), target=2, method="gradient")
        np.testing.assert_allclose(answer.attribution, expected.attribution, atol=1e-6)
        np.testing.assert_allclose(answer.score, expected.score, rtol=1e-6)
        assert answer.head == "softmax"


def test_24_the_class_that_was_predicted_is_explained_where_none_is_named() -> None:
    """keras-vis visualize_saliency with filter_indices=None explains the mean of all outputs (tutorial on fish ages)."""
    answer = explained(build(NET), batch(), method="gradient")
    for i, image in enumerate(IMAGES):
        top = int(paper.scores(NET, image).argmax())
        assert answer.target[i]["index"] == top
        np.testing.assert_allclose(answer.attribution[i], paper.gradient(NET, image, top), atol=1e-6)
