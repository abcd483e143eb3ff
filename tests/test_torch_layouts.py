"""Convolutions of many weights have channels first, all others channels last: the same values, in less time."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call, vmap
from torch.utils.checkpoint import checkpoint

import sightline as sl
from sightline.frameworks.torch import TorchModel, layouts
from sightline.method import find
from sightline.model import Outgoing, Target
from sightline.rules.only import only

FRAMEWORKS = ("torch",)


def first(outputs: torch.Tensor) -> torch.Tensor:
    return outputs[None, :, 0]


class Hourglass(nn.Module):
    """From many values to many weights and back."""

    def __init__(self, do: Callable[[Any, torch.Tensor], torch.Tensor] | None = None) -> None:
        super().__init__()
        self.few = nn.Sequential(nn.Conv2d(3, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.AdaptiveAvgPool2d(3))
        self.many = nn.Conv2d(64, 1024, 3, padding=1, bias=False)
        self.less = nn.Conv2d(1024, 64, 3, padding=1)
        self.norm = nn.BatchNorm2d(64)
        self.back = nn.Conv2d(64, 2, 1)
        self.do = do or (lambda conv, x: conv(x))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.do(self.less, torch.relu(self.many(self.few(x))))
        return self.back(torch.relu(self.norm(y))).mean((2, 3))


def made(do: Callable[[Any, torch.Tensor], torch.Tensor] | None = None) -> nn.Module:
    torch.manual_seed(3)
    model = Hourglass(do).eval()
    for norm in (model.few[1], model.norm):
        for t in (norm.weight.data, norm.running_mean, norm.running_var, norm.bias.data):
            t.copy_(torch.rand_like(t) + 0.2)
    return model


def images(count: int = 2) -> torch.Tensor:
    return torch.rand(count, 3, 24, 24, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def laid(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Filled with the channels of the convolutions that had channels first, and gave channels last all the same."""
    found, own = list[int](), layouts._channels_last

    def tell(conv: nn.Conv2d, given: tuple[torch.Tensor], y: torch.Tensor) -> torch.Tensor | None:
        new = own(conv, given, y)
        if new is not None:
            assert given[0].is_contiguous() and new.is_contiguous(memory_format=torch.channels_last)
            found.append(conv.out_channels)
        return new

    monkeypatch.setattr(layouts, "_channels_last", tell)
    return found


def exact(model: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The scores and the gradient of the first, in float64, by autograd alone."""
    double, x = copy.deepcopy(model).double(), x.double().requires_grad_()
    scores = double(x)
    return scores.detach(), torch.autograd.grad(scores[:, 0].sum(), x)[0]


def assert_exact(model: nn.Module, x: torch.Tensor) -> None:
    (scores, gradient), trace = exact(model, x), TorchModel(model).run(x, at=[""], target=first)
    torch.testing.assert_close(trace.outputs.double(), scores, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(trace.grads[""][0].double(), gradient, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("count", [1, 2, 8])
def test_convolutions_of_many_weights_have_channels_first_however_many_images_there_are(
    count: int, laid: list[int]
) -> None:
    assert_exact(made(), images(count))
    assert laid == [1024, 64]


def test_values_on_the_way_lie_as_they_would_have_lain() -> None:
    for place, value in TorchModel(made()).run(images(), at=["few.0", "many", "less", "back"]).values.items():
        assert value.is_contiguous(memory_format=torch.channels_last) and not value.is_contiguous(), place


def test_a_model_with_most_weights_in_small_convolutions_keeps_one_layout(laid: list[int]) -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 64, 3, stride=8), nn.Conv2d(64, 99, 2), nn.Flatten()).eval()
    TorchModel(model).run(images())
    assert not laid
    assert sl.explain(model, images(1), method="gradient").facts()["layout"] == "channels_last"


def test_a_large_convolution_of_a_large_image_keeps_channels_last(laid: list[int]) -> None:
    model = made()
    model.few[3].output_size = 16
    TorchModel(model).run(images())
    assert not laid  # 589,824 weights are not six times 262,144 values


def test_what_a_convolution_shares_with_others_is_theirs_to_change(laid: list[int]) -> None:
    model = made()
    model.less.stride = 1
    model.many.stride = (1,)
    assert_exact(model, images())
    assert not laid


def test_the_answer_tells_it() -> None:
    told = "channels_last but for convolutions of many weights"
    assert sl.explain(made(), images(1), method="gradient").facts()["layout"] == told
    double = sl.explain(made().double(), images(1).double(), method="gradient")
    assert double.facts()["layout"] == "contiguous"
    assert sl.explain(made(), images(1), method="gradient", precision="bfloat16").facts()["layout"] == "channels_last"


def test_the_users_module_and_the_twin_are_as_before() -> None:
    model, x = made(), images()
    adapted = TorchModel(model)
    before = [dict(part.__dict__) for part in model.modules()]
    one, two = adapted.run(x), adapted.run(x)
    assert torch.equal(one.outputs, two.outputs)
    assert all(part.__dict__.keys() == own.keys() for part, own in zip(model.modules(), before))


def test_a_rule_for_convolutions_meets_them_as_they_are_and_one_for_relus_does_not_mind(laid: list[int]) -> None:
    for kind, expected in (("conv", []), ("relu", [1024, 64])):
        model, seen = made(), []

        def rule(op: Any, seen: list[str] = seen) -> Any:
            seen.append(op.kind)
            return Outgoing(lambda grad: grad)

        TorchModel(model).run(images(), at=[""], target=first, rule=only(kind)(rule))
        assert laid == expected and set(seen) == {kind}


@pytest.mark.parametrize(
    "method", ["grad-cam", "guided-backprop", "lrp-epsilon", "ablation-cam", "score-cam", "deep-lift", "full-grad"]
)
def test_methods_find_what_they_find_in_float64(method: str) -> None:
    named = {"layer": "less"} if method.endswith("cam") else {}
    found = sl.explain(made(), images(), method=method, target=lambda scores: -scores[0], **named)
    expected = sl.explain(made().double(), images().double(), method=method, target=lambda scores: -scores[0], **named)
    scale = float(np.abs(expected.attribution).max())
    assert scale > 0
    np.testing.assert_allclose(found.attribution, expected.attribution, atol=1e-3 * scale)


@pytest.mark.parametrize("count", [1, 3])
def test_ablation_leaves_nothing_of_one_pass_in_the_next(count: int) -> None:
    found = sl.explain(made(), images(count), method="ablation-cam", layer="less", target=lambda scores: -scores[0])
    model, x = made().double(), images(count).double()
    value: list[torch.Tensor] = []
    model.less.register_forward_hook(lambda m, given, y: value.append(y.detach()))
    score = -model(x)[:, 0].detach()
    a, cam = value[0], torch.zeros(count, 3, 3, dtype=torch.float64)
    for c in range(a.shape[1]):
        without = a.clone()
        without[:, c] = 0
        hook = model.less.register_forward_hook(lambda m, given, y, without=without: without)
        fall = (score + model(x)[:, 0].detach()) / score.abs()
        hook.remove()
        cam += fall[:, None, None] * a[:, c]
    assert cam.max() > 0
    np.testing.assert_allclose(found.attribution, cam.relu().numpy(), rtol=1e-3, atol=1e-5)


def by_other_weights(conv: Any, x: torch.Tensor) -> torch.Tensor:
    return functional_call(conv, {"weight": conv.weight * (1 + x.mean())}, (x,))


def by_a_map_over_images(conv: Any, x: torch.Tensor) -> torch.Tensor:
    return vmap(lambda one: conv(one[None])[0])(x)


def by_another_operation(conv: Any, x: torch.Tensor) -> torch.Tensor:
    conv._conv_forward = lambda x, w, b: nn.functional.conv2d(x, w.tanh(), b, padding=1)
    return conv(x)


def as_a_copy(conv: Any, x: torch.Tensor) -> torch.Tensor:
    other = copy.deepcopy(conv)
    other.weight.data.mul_(1.5)
    return other(x)


def through_a_file(conv: Any, x: torch.Tensor) -> torch.Tensor:
    with io.BytesIO() as file:
        torch.save(conv, file)
        file.seek(0)
        return torch.load(file, weights_only=False)(x)


def in_pieces(conv: Any, x: torch.Tensor) -> torch.Tensor:
    return checkpoint(conv, x, use_reentrant=False)


def with_a_hook(conv: Any, x: torch.Tensor) -> torch.Tensor:
    handle = conv.register_forward_pre_hook(lambda m, given: (given[0] * 2,))
    y = conv(x)
    handle.remove()
    return y


def compiled_whole(conv: Any, x: torch.Tensor) -> torch.Tensor:
    return torch.compile(lambda z: conv(z), backend="eager", fullgraph=True)(x)


def as_a_shallow_copy(conv: Any, x: torch.Tensor) -> torch.Tensor:
    other = copy.copy(conv)
    other.padding = (2, 2)
    return other(x)


class Negative(nn.Conv2d):
    """Another class."""

    def _conv_forward(self, input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        return -super()._conv_forward(input, weight, bias)


def of_another_class(conv: Any, x: torch.Tensor) -> torch.Tensor:
    conv.__class__ = Negative
    return conv(x)


def with_rows_of_channels(conv: Any, x: torch.Tensor) -> torch.Tensor:
    y = conv(x.contiguous(memory_format=torch.channels_last))
    n, c, h, w = y.shape
    return y.as_strided((n, h, w, c), (h * w * c, w * c, c, 1)).permute(0, 3, 1, 2)


def with_rows_of_pixels(conv: Any, x: torch.Tensor) -> torch.Tensor:
    y = conv(x.contiguous())
    return y.view(len(y), -1).view(y.shape)


def of_one_image_without_a_batch(conv: Any, x: torch.Tensor) -> torch.Tensor:
    return torch.stack([conv(one) for one in x])


DOINGS = (by_other_weights, by_a_map_over_images, by_another_operation, as_a_copy, through_a_file, in_pieces)
DOINGS += (with_a_hook, compiled_whole, as_a_shallow_copy, of_another_class)
DOINGS += (with_rows_of_channels, with_rows_of_pixels, of_one_image_without_a_batch)


@pytest.mark.parametrize("do", DOINGS)
def test_what_a_pass_does_with_a_convolution_counts(do: Callable[[Any, torch.Tensor], torch.Tensor]) -> None:
    model = made(do)
    for _ in range(2):
        assert_exact(model, images())


def test_a_tensor_of_another_kind_is_left_as_it_is() -> None:
    model = made(lambda conv, x: conv(x.detach().to_mkldnn()).to_dense())
    found = TorchModel(model).run(images()).outputs
    torch.testing.assert_close(found, model(images()).detach(), rtol=1e-5, atol=1e-6)


def test_a_score_that_is_a_view_of_a_copy_is_kept() -> None:
    torch.manual_seed(0)
    last = nn.Conv2d(
        8, 1200, 3, padding=1
    )  # so many channels that a pass shows no operation in place in an earlier one
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(3), last, nn.Flatten()).eval()
    model, method = TorchModel(net), find("ablation-cam")
    x = model.array(images(1))
    layer = next(layer for layer in model.places(x) if layer.name == "2")
    found, expected = (
        method.attribute(model, x, Target(score), layer=layer)[0]
        for score in (lambda y: y[None, :, 4], lambda y: y[None, :, 4].clone())
    )
    assert expected.abs().max() > 0
    torch.testing.assert_close(found, expected)
