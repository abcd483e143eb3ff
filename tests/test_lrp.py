"""Relevance is conserved, folded, and meets every form of an operation; what has no rule is refused."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import sightline as sl
from sightline.frameworks.torch import TorchModel
from sightline.method import METHODS
from sightline.model import Target
from torch_nets import close, image, made

FRAMEWORKS = ("torch",)


def second(outputs: torch.Tensor) -> torch.Tensor:
    return outputs[None, :, 1]


def mapped(module: nn.Module, name: str, x: torch.Tensor | None = None, **options: Any) -> torch.Tensor:
    x = image() if x is None else x
    found, _ = METHODS[name].attribute(TorchModel(module), x, Target(second), **options)
    return found[0]


def total(a: torch.Tensor) -> torch.Tensor:
    return a.flatten(1).sum(1)


class Residual(nn.Module):
    """Every operation that has a rule, in a residual net; with or without biases and batch normalisation."""

    def __init__(self, bias: bool = False, norm: bool = False, functional: bool = False) -> None:
        super().__init__()
        self.one, self.two = (
            nn.Conv2d(3, 8, 3, padding=1, bias=bias),
            nn.Conv2d(8, 8, 3, padding=1, bias=bias, groups=2),
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(8) if norm else nn.Identity() for _ in range(2))
        self.relu, self.peak, self.mean = nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.AvgPool2d(2)
        self.mid, self.head = nn.Linear(32, 32, bias), nn.Linear(32, 5, bias)
        self.functional = functional

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        relu = F.relu if self.functional else self.relu
        x = self.peak(relu(self.norms[0](self.one(x))))
        y = self.norms[1](self.two(x))
        if self.functional:
            y = torch.add(y, x)
        else:
            y += x
        y = F.dropout(self.mean(relu(y)), training=self.training)
        return self.head(relu(self.mid(torch.cat([y[:, :4], y[:, 4:]], 1).flatten(1))))


BOX = {"low": torch.full((2, 3, 8, 8), -5.0).double(), "high": torch.full((2, 3, 8, 8), 5.0).double()}
EXACT: dict[str, dict[str, Any]] = {
    "lrp-epsilon": {"epsilon": 0.0},
    "lrp-gamma": {},
    "lrp-z-plus": {},
    "lrp-alpha-beta": {},
    "lrp-flat": {},
    "lrp-w-square": {},
    "lrp-epsilon-plus-flat": {"epsilon": 0.0},
    "lrp-epsilon-gamma-box": {"epsilon": 0.0, **BOX},
    "lrp-epsilon-alpha2-beta1": {"epsilon": 0.0},
    "deep-taylor": BOX,
    "attn-lrp": {"epsilon": 0.0},
}


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("functional", [False, True])
def test_relevance_sums_to_the_score_without_biases(name: str, functional: bool) -> None:
    module = made(lambda: Residual(functional=functional)).eval()
    score = module(image())[:, 1].detach()
    torch.testing.assert_close(total(mapped(module, name, **EXACT[name])), score, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["lrp-z-plus", "deep-taylor", "excitation-backprop"])
def test_a_rule_of_positive_parts_keeps_the_sign_where_branches_of_both_signs_are_added(name: str) -> None:
    module = made(Residual).eval()
    module.relu = nn.Identity()  # sums below zero too
    found = mapped(module, name, **(BOX if name == "deep-taylor" else {}))
    score = module(image())[:, 1].detach()
    sign = torch.ones(2) if name == "excitation-backprop" else score.sign()
    assert (found * sign[:, None, None, None]).min() >= -1e-12 * found.abs().max()
    torch.testing.assert_close(total(found), torch.ones(2).double() if sign.min() == sign.max() == 1 else score)


@pytest.mark.parametrize("name", ["lrp-flat", "lrp-w-square"])
def test_a_rule_of_the_weights_alone_hardly_sees_the_values(name: str) -> None:
    """Without max-pooling the shares of all pixels are the same in every image, in a residual net too."""
    module = made(Residual).eval()
    module.peak = nn.AvgPool2d(2)
    found = mapped(module, name) / module(image())[:, 1].detach()[:, None, None, None]
    torch.testing.assert_close(found[0], found[1])
    assert found.min() >= 0


def test_the_parts_of_a_sum_are_those_of_its_own_sign() -> None:
    class Sum(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.join(x[:, :2], x[:, 2:])

    joins = [
        (torch.add, [-1.0, -3.0]),
        (torch.sub, [1.0, 3.0]),
        (partial(torch.add, alpha=-0.5), [2.0, 6.0]),
        (partial(torch.sub, alpha=-0.5), [-2.0, -6.0]),
        (lambda a, b: torch.rsub(b, a, alpha=2), [0.5, 1.5]),
    ]
    for join, second_branch in joins:
        net = Sum()
        net.join = join
        x = torch.tensor([[4.0, 1.0, *second_branch]]).double()  # sums of 3 and -2
        trace = TorchModel(net).run(x, at=[""], target=Target(lambda y: y.sum(1)[None]), rule=_own_signs())
        assert trace.grads[""][0, 0].tolist() == pytest.approx([3, 0, 0, -2])


def _own_signs() -> Any:
    from sightline.rules.lrp import composite
    from sightline.rules.weights import epsilon_rule, own_sign_sums

    return composite(epsilon_rule(0.0), epsilon_rule(0.0), sums=own_sign_sums)


def test_the_epsilon_rule_loses_only_what_epsilon_takes() -> None:
    module = made(Residual).eval()
    score = module(image())[:, 1].detach()
    lost = [(total(mapped(module, "lrp-epsilon", epsilon=e)) - score).abs().max().item() for e in (1e-2, 1e-5, 1e-8)]
    assert lost[0] > 1e-4
    assert lost[0] > 100 * lost[1] > 1e4 * lost[2]


@pytest.mark.parametrize("name", EXACT)
def test_every_form_of_an_operation_gives_the_same_map(name: str) -> None:
    """In place and reused against functional; EXACT's sums may be near zero, so not with ε = 0."""
    options = {key: value for key, value in EXACT[name].items() if key != "epsilon"}
    forms = [made(lambda f=f: Residual(True, True, f)) for f in (False, True)]
    found, expected = (mapped(form, name, **options) for form in forms)
    close(found, expected, 1e-9)


def random_norms(module: nn.Module) -> nn.Module:
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.normal_(norm.weight), nn.init.normal_(norm.bias), nn.init.normal_(norm.running_mean)
            norm.running_var.uniform_(0.5, 2)
    return module.eval()


def by_hand(module: Residual) -> Residual:
    """The same net, the normalisations put into the convolutions."""
    folded = made(lambda: Residual(bias=True)).eval()
    folded.load_state_dict(module.state_dict(), strict=False)
    with torch.no_grad():
        for conv, old, norm in zip((folded.one, folded.two), (module.one, module.two), module.norms):
            scale = norm.weight / (norm.running_var + norm.eps).sqrt()
            conv.weight.copy_(old.weight * scale[:, None, None, None])
            conv.bias.copy_(norm.bias + ((0 if old.bias is None else old.bias) - norm.running_mean) * scale)
    return folded


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("name", EXACT)
def test_batch_normalisation_is_folded_inside_the_pass(name: str, bias: bool) -> None:
    module = random_norms(made(lambda: Residual(bias, True)))
    if not bias:
        module.mid.bias, module.head.bias = (nn.Parameter(torch.zeros(n).double()) for n in (32, 5))
    options = {key: value for key, value in EXACT[name].items() if key != "epsilon"}
    close(mapped(module, name, **options), mapped(by_hand(module), name, **options), 1e-10)
    trace = TorchModel(module).run(image(), target=Target(second))
    assert torch.equal(trace.score, TorchModel(module).run(image(), at=[""], target=Target(second)).score)


def test_a_rule_leaves_the_score_as_it_is_to_the_last_bit() -> None:
    module = random_norms(made(lambda: Residual(True, True)))
    plain = TorchModel(module).run(image(), target=Target(second)).score
    from sightline.rules.lrp import composite
    from sightline.rules.weights import gamma_rule

    rule = composite(gamma_rule(0.3), gamma_rule(0.3))
    assert torch.equal(TorchModel(module).run(image(), at=[""], target=Target(second), rule=rule).score, plain)


@pytest.mark.parametrize("form", ["rescale", "reveal-cancel"])
@pytest.mark.parametrize("functional", [False, True])
def test_deep_lift_explains_the_whole_difference(form: str, functional: bool) -> None:
    module = random_norms(made(lambda: Residual(True, True, functional)))
    reference = image(5)
    difference = (module(image()) - module(reference))[:, 1].detach()
    torch.testing.assert_close(total(mapped(module, "deep-lift", baseline=reference, form=form)), difference)


@pytest.mark.parametrize("act", [nn.GELU(), nn.SiLU(), nn.Sigmoid(), nn.ELU(), nn.ReLU6(), lambda x: x * x.sigmoid()])
def test_deep_lift_rescales_every_activation(act: Callable[[torch.Tensor], torch.Tensor]) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(act(3 * self.one(x)).amax((2, 3)))

    module, reference = made(Net), image(5)
    difference = (module(image()) - module(reference))[:, 1].detach()
    torch.testing.assert_close(total(mapped(module, "deep-lift", baseline=reference)), difference)


def test_deep_lift_of_the_reference_itself_is_zero() -> None:
    assert mapped(made(Residual), "deep-lift", baseline=image()).abs().max() == 0


def test_deep_shap_is_the_mean_of_deep_lift() -> None:
    module, references = made(lambda: Residual(True)), tuple(image(s) for s in (4, 5, 6))
    each = [mapped(module, "deep-lift", baseline=r) for r in references]
    close(mapped(module, "deep-shap", baseline=references), torch.stack(each).mean(0))


def test_winning_probabilities_sum_to_one_and_contrastive_ones_to_zero() -> None:
    module = made(Residual)
    wins = mapped(module, "excitation-backprop")
    assert wins.min() >= 0
    close(total(wins), torch.ones(2).double())
    contrast = mapped(module, "contrastive-excitation-backprop")
    assert contrast.abs().max() > 1e-3
    close(total(contrast), torch.zeros(2).double())


def test_contrastive_excitation_needs_a_linear_layer_at_the_end() -> None:
    module = made(lambda: nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()))
    with pytest.raises(sl.ModelError, match="do not come from a linear layer") as caught:
        mapped(module, "contrastive-excitation-backprop")
    assert str(caught.value).count("\n") == 1


class Odd(nn.Module):
    """One operation between two linear layers."""

    def __init__(self, between: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.one, self.two, self.between = nn.Linear(192, 6), nn.Linear(6, 5), between

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.two(self.between(self.one(x.flatten(1)))).softmax(1)


REFUSED: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "gelu": F.gelu,
    "silu": F.silu,
    "softmax": lambda x: x.softmax(1),
    "sigmoid": torch.sigmoid,
    "mul": lambda x: x * x,
    "exp": torch.exp,
    "einsum": lambda x: torch.einsum("ni,ni->ni", x, x),
    "layer_norm": lambda x: F.layer_norm(x, (6,)),
    "normalize": F.normalize,
    "cumsum": lambda x: x.cumsum(1),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_carries_relevance_without_a_rule_is_refused(kind: str) -> None:
    with pytest.raises(sl.ModelError) as caught:
        mapped(made(lambda: Odd(REFUSED[kind])), "lrp-epsilon")
    assert str(caught.value).count("\n") == 1
    assert "for which LRP has no rule" in caught.value.given


PASSED: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "constants": lambda x: (x - 0.3) / 0.2 * 4 + torch.ones(6).double(),
    "tanh": torch.tanh,
    "views": lambda x: x.reshape(-1, 2, 3).transpose(1, 2).contiguous().view(-1, 6).roll(1, 1).flip(1),
}


@pytest.mark.parametrize("kind", PASSED)
def test_what_has_one_input_an_output_passes_relevance_unchanged(kind: str) -> None:
    module = made(lambda: Odd(PASSED[kind]))
    x = image()
    hidden = module.between(module.one(x.flatten(1))).detach()
    relevance = hidden * module.two.weight[1]
    expected = relevance * (module.two(hidden)[:, 1] / (module.two(hidden)[:, 1])).detach()[:, None]
    back = torch.eye(6).double()
    if kind == "views":
        back = torch.autograd.functional.jacobian(lambda h: module.between(h[None])[0], torch.zeros(6).double())
    found = TorchModel(module).run(x, at=["one"], target=Target(second), rule=_epsilon()).grads["one"][0]
    close(found, (expected @ back).detach(), 1e-6)


def _epsilon() -> Any:
    from sightline.rules.lrp import composite
    from sightline.rules.weights import epsilon_rule

    return composite(epsilon_rule(1e-12), epsilon_rule(1e-12))


def test_alpha_less_beta_must_be_one() -> None:
    with pytest.raises(sl.MethodError, match="must be 1"):
        mapped(made(Residual), "lrp-alpha-beta", alpha=3.0, beta=1.0)


class Scaled(nn.Module):
    """A net that scales its image first, in one of several ways."""

    def __init__(self, first: Any) -> None:
        super().__init__()
        self.first, self.net = first, Residual()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(self.first(x))


CHANGING = {
    "scaled": lambda x: x * 2,
    "in place": lambda x: x.clone().sub_(0.5).div_(0.3),
    "padded and cut": lambda x: F.pad(x, (1, 1, 1, 1))[..., 1:-1, 1:-1],
    "other channels": lambda x: x.flip(1),
}


@pytest.mark.parametrize("name", ["deep-taylor", "lrp-epsilon-gamma-box"])
@pytest.mark.parametrize("change", CHANGING)
def test_limits_of_the_image_are_not_taken_for_those_of_what_the_model_makes_of_it(change: str, name: str) -> None:
    with pytest.raises(sl.ModelError, match=r"changes the image .* before its first layer .*\n.*preprocess="):
        mapped(made(lambda: Scaled(CHANGING[change])).eval(), name, **EXACT[name])


@pytest.mark.parametrize("name", ["deep-taylor", "lrp-epsilon-gamma-box"])
def test_limits_of_an_image_in_another_form_are_its_own(name: str) -> None:
    kept = made(lambda: Scaled(lambda x: F.dropout(x, training=False).contiguous().double().clone())).eval()
    expected = mapped(kept.net, name, **EXACT[name])
    torch.testing.assert_close(mapped(kept, name, **EXACT[name]), expected)


class Tokens(nn.Module):
    """A net of tokens, images or tokens first."""

    def __init__(self, tokens_first: bool) -> None:
        super().__init__()
        self.conv, self.up, self.down, self.head = (
            nn.Conv2d(3, 8, 2, 2),
            nn.Linear(8, 16),
            nn.Linear(16, 8),
            nn.Linear(8, 4),
        )
        self.order, self.axis = ((2, 0, 1), 0) if tokens_first else ((0, 2, 1), 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.conv(x).flatten(2).permute(*self.order)
        return self.head((tokens + self.down(torch.relu(self.up(tokens)))).mean(self.axis))


@pytest.mark.parametrize("options", [{"form": "rescale"}, {"form": "reveal-cancel"}, {"method": "deep-shap"}])
def test_deep_lift_tells_images_from_references_where_tokens_come_first(options: dict[str, Any]) -> None:
    first, second = (made(lambda order=order: Tokens(order)).eval() for order in (True, False))
    x, asked = image(), {"method": "deep-lift", "baseline": 0.3, "target": 1} | options
    found = sl.explain(first, x, **asked)
    with torch.no_grad():
        change = (first(x) - first(torch.full_like(x, 0.3)))[:, 1].numpy()
    assert found.attribution.sum((1, 2, 3)) == pytest.approx(change, rel=1e-5)
    assert found.checks["residual"].max() < 1e-5
    if asked.get("form") != "reveal-cancel":  # which is rescale there
        assert found.attribution == pytest.approx(sl.explain(second, x, **asked).attribution, rel=1e-5, abs=1e-7)


def test_deep_lift_says_what_it_leaves_unexplained() -> None:
    class Hidden(Tokens):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.conv(x)
            return self.head(torch.relu(y * (y > 0)).mean((2, 3)))  # a bend that is seen as a factor

    net, x = made(lambda: Hidden(True)).eval(), image()
    e = sl.explain(net, x, method="deep-lift", baseline=0.3, target=1)
    with torch.no_grad():
        change = (net(x) - net(torch.full_like(x, 0.3)))[:, 1].numpy()
    left = np.abs(e.attribution.sum((1, 2, 3)) - change) / np.abs(change)
    assert e.checks["residual"] == pytest.approx(left, rel=1e-3) and left.min() > 0.01
