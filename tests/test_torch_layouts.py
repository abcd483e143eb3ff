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
from sightline.frameworks.torch import TorchModel
from sightline.model import Outgoing
from sightline.rules.only import only

FRAMEWORKS = ("torch",)
WIDE = ["channels_last", "contiguous", "contiguous", "channels_last"]  # of what each convolution gives


def first(outputs: torch.Tensor) -> torch.Tensor:
    return outputs[None, :, 0]


class Hourglass(nn.Module):
    """From many values to many weights and back."""

    def __init__(self, do: Callable[[Any, torch.Tensor], torch.Tensor] | None = None) -> None:
        super().__init__()
        self.few = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(3))
        self.many = nn.Conv2d(8, 1024, 3, padding=1, bias=False)
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


CONVOLUTIONS = ("few.0", "many", "less", "back")


def layouts_of(values: dict[str, torch.Tensor]) -> list[str]:
    """How what each convolution gave lies in memory."""
    return ["contiguous" if values[place].is_contiguous() else "channels_last" for place in CONVOLUTIONS]


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
def test_each_convolution_has_its_layout_however_many_images_there_are(count: int) -> None:
    assert_exact(made(), images(count))
    assert layouts_of(TorchModel(made()).run(images(count), at=CONVOLUTIONS).values) == WIDE


def test_a_model_with_most_weights_in_small_convolutions_keeps_one_layout() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 64, 3, stride=8), nn.Conv2d(64, 99, 2), nn.Flatten()).eval()
    value = TorchModel(model).run(images(), at=["2"]).values["2"]  # 25,344 weights, 576 values
    assert value.is_contiguous(memory_format=torch.channels_last) and not value.is_contiguous()
    assert sl.explain(model, images(1), method="gradient").facts()["layout"] == "channels_last"


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


def test_a_rule_for_convolutions_meets_them_as_they_are_and_one_for_relus_does_not_mind() -> None:
    for kind, expected in (("conv", ["channels_last"] * 4), ("relu", WIDE)):
        model, seen = made(), []

        def rule(op: Any, seen: list[str] = seen) -> Any:
            seen.append(op.kind)
            return Outgoing(lambda grad: grad)

        trace = TorchModel(model).run(images(), at=CONVOLUTIONS, target=first, rule=only(kind)(rule))
        assert layouts_of(trace.values) == expected and set(seen) == {kind}


@pytest.mark.parametrize(
    "method", ["grad-cam", "guided-backprop", "lrp-epsilon", "ablation-cam", "score-cam", "deep-lift", "full-grad"]
)
def test_methods_find_what_they_find_in_float64(method: str) -> None:
    named = {"layer": "less"} if method.endswith("cam") else {}
    found = sl.explain(made(), images(), method=method, target=1, **named)
    expected = sl.explain(made().double(), images().double(), method=method, target=1, **named)
    scale = float(np.abs(expected.attribution).max())
    assert scale > 0
    np.testing.assert_allclose(found.attribution, expected.attribution, atol=1e-3 * scale)


@pytest.mark.parametrize("count", [1, 3])
def test_ablation_leaves_nothing_of_one_pass_in_the_next(count: int) -> None:
    found = sl.explain(made(), images(count), method="ablation-cam", layer="less", target=1)
    model, x = made().double(), images(count).double()
    value: list[torch.Tensor] = []
    model.less.register_forward_hook(lambda m, given, y: value.append(y.detach()))
    score = model(x)[:, 1].detach()
    a, cam = value[0], torch.zeros(count, 3, 3, dtype=torch.float64)
    for c in range(a.shape[1]):
        without = a.clone()
        without[:, c] = 0
        hook = model.less.register_forward_hook(lambda m, given, y, without=without: without)
        fall = (score - model(x)[:, 1].detach()) / score.abs()
        hook.remove()
        cam += fall[:, None, None] * a[:, c]
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


def compiled_on_the_way(conv: Any, x: torch.Tensor) -> torch.Tensor:
    return torch.jit.script(conv)(x)


def of_one_image_without_a_batch(conv: Any, x: torch.Tensor) -> torch.Tensor:
    return torch.stack([conv(one) for one in x])


DOINGS = (by_other_weights, by_a_map_over_images, by_another_operation, as_a_copy, through_a_file, in_pieces)
DOINGS += (with_a_hook, compiled_on_the_way, of_one_image_without_a_batch)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is")
@pytest.mark.parametrize("do", DOINGS)
def test_what_a_pass_does_with_a_convolution_counts(do: Callable[[Any, torch.Tensor], torch.Tensor]) -> None:
    model = made(do)
    for _ in range(2):
        assert_exact(model, images())
