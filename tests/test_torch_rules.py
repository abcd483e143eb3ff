"""Backward rules on every form of a rectifier."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import sightline as sl
from sightline.frameworks.torch import TorchModel
from sightline.model import Back, Op
from sightline.rules import deconv, guided
from torch_nets import close, fresh, gradient, image, made, second

FRAMEWORKS = ("torch",)


class Bent(torch.autograd.Function):
    """A rectifier with the papers' own backward passes, out of place."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, limit: float, forward_too: bool) -> torch.Tensor:
        ctx.save_for_backward(x)
        ctx.limit, ctx.forward_too = limit, forward_too
        return x.clamp(0, limit)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        (x,) = ctx.saved_tensors
        passed = grads[0].clamp(min=0)
        return (passed * ((x > 0) & (x < ctx.limit)) if ctx.forward_too else passed), None, None


class Form(nn.Module):
    """Two convolutions, each with a rectifier in the form asked for; the same object twice."""

    def __init__(self, act: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.one, self.two, self.act = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), act
        self.head = nn.Linear(4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.act(self.two(self.act(20 * self.one(x)))).mean((2, 3)))


def in_place(function: Callable[..., Any]) -> Callable[[torch.Tensor], torch.Tensor]:
    """What a user writes for its effect alone."""

    def act(x: torch.Tensor) -> torch.Tensor:
        function(x)
        return x

    return act


INF = float("inf")
FORMS: dict[str, tuple[float, Callable[[torch.Tensor], torch.Tensor]]] = {
    "nn.ReLU": (INF, nn.ReLU()),
    "nn.ReLU in place": (INF, nn.ReLU(inplace=True)),
    "F.relu": (INF, F.relu),
    "F.relu by name": (INF, lambda x: F.relu(input=x)),
    "F.relu in place": (INF, lambda x: F.relu(x, True)),
    "F.relu_": (INF, F.relu_),
    "torch.relu": (INF, torch.relu),
    "torch.relu_": (INF, in_place(torch.relu_)),
    "x.relu": (INF, lambda x: x.relu()),
    "x.relu_": (INF, in_place(lambda x: x.relu_())),
    "x.clamp(min=0)": (INF, lambda x: x.clamp(min=0)),
    "x.clamp_(0)": (INF, in_place(lambda x: x.clamp_(0))),
    "torch.clamp": (INF, lambda x: torch.clamp(x, min=0.0)),
    "torch.clamp_min": (INF, lambda x: torch.clamp_min(x, 0)),
    "x.clamp(0, 6)": (6, lambda x: x.clamp(0, 6)),
    "x.clip(0, 6)": (6, lambda x: x.clip(0, 6)),
    "x.clip_(0, 6)": (6, in_place(lambda x: x.clip_(0, 6))),
    "torch.clip": (INF, lambda x: torch.clip(x, min=0.0)),
    "nn.ReLU6": (6, nn.ReLU6()),
    "nn.ReLU6 in place": (6, nn.ReLU6(inplace=True)),
    "F.relu6": (6, F.relu6),
    "F.hardtanh": (6, lambda x: F.hardtanh(x, 0, 6)),
    "nn.Hardtanh": (6, nn.Hardtanh(0, 6)),
    "F.hardtanh_": (6, in_place(lambda x: F.hardtanh_(x, 0.0, 6.0))),
    "clamped at 1": (1, lambda x: torch.clamp(x, 0, 1)),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("rule", [guided, deconv])
def test_every_form_of_relu_is_bent(form: str, rule: Callable[[Op], Back | None]) -> None:
    limit, act = FORMS[form]
    module = made(lambda: Form(act))
    trace = TorchModel(module).run(image(), at=[""], target=second, rule=rule)
    bent = made(lambda: Form(lambda x: Bent.apply(x, limit, rule is guided)))
    close(trace.outputs, fresh(bent, image()))
    close(trace.grads[""][0], gradient(bent, image()))
    plain = made(lambda: Form(lambda x: x.clamp(0, limit)))
    assert not torch.allclose(trace.grads[""][0], gradient(plain, image()))
    close(TorchModel(module).run(image(), at=[""], target=second).grads[""][0], gradient(plain, image()))


class Skip(nn.Module):
    """The input of a rectifier in place is read again behind it."""

    def __init__(self, act: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.one, self.two, self.act, self.head = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), act, nn.Linear(4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a = self.one(x)
        b = self.act(a)
        return self.head(self.two(b).mean((2, 3)) + a.square().amax((2, 3)))


class SkipByHand(Skip):
    """The same with what torch's own forward pass leaves in `a`."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b = self.act(self.one(x))
        return self.head(self.two(b).mean((2, 3)) + b.square().amax((2, 3)))


@pytest.mark.parametrize("act", [nn.ReLU(inplace=True), F.relu_, torch.relu_, nn.ReLU6(inplace=True)])
@pytest.mark.parametrize("rule", [guided, deconv])
def test_a_skip_reads_what_a_rectifier_in_place_left(act: Any, rule: Any) -> None:
    module = made(lambda: Skip(act))
    by_hand = made(lambda: SkipByHand(lambda x: Bent.apply(x, 6 if isinstance(act, nn.ReLU6) else INF, rule is guided)))
    trace = TorchModel(module).run(image(), at=[""], target=second, rule=rule)
    close(trace.outputs, fresh(module, image()))
    close(trace.grads[""][0], gradient(by_hand, image()))


def test_other_activations_keep_their_derivative() -> None:
    module = made(lambda: nn.Sequential(Form(F.gelu), nn.ReLU(), nn.Linear(5, 5)))
    by_hand = nn.Sequential(module[0], *made(lambda: nn.Sequential(nn.Identity())), module[2])
    score = lambda x: by_hand[2](Bent.apply(by_hand[0](x), INF, True))  # noqa: E731
    trace = TorchModel(module).run(image(), at=[""], target=second, rule=guided)
    close(trace.grads[""][0], gradient(score, image()))  # type: ignore[arg-type]


@pytest.mark.parametrize("act", [F.gelu, torch.tanh, lambda x: F.hardtanh(x), lambda x: x.clamp(min=-1)])
@pytest.mark.parametrize("name", ["guided-backprop", "deconvnet", "guided-grad-cam"])
def test_a_model_without_a_rectifier_is_refused(act: Any, name: str) -> None:
    layer = {"layer": "two"} if name == "guided-grad-cam" else {}
    with pytest.raises(sl.ModelError, match="met none") as caught:
        sl.explain(made(lambda: Form(act)), image(), method=name, target=1, **layer)
    assert str(caught.value).count("\n") == 1
