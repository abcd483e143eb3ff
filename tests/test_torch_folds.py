"""Batch norms folded into convolutions: the same values, in less time; and not folded where anyone would see it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import sightline as sl
from sightline.frameworks.torch import TorchModel
from sightline.model import Outgoing
from sightline.rules.only import only

FRAMEWORKS = ("torch",)


def first(outputs: torch.Tensor) -> torch.Tensor:
    return outputs[None, :, 0]


class Chains(nn.Module):
    """Convolutions and batch norms in chains: with a bias, in groups, the last without anything behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Sequential(nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6, eps=0.1), nn.ReLU(inplace=True)),
            nn.Sequential(nn.Conv2d(6, 6, 3, groups=6), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 4, 1)),
            nn.BatchNorm2d(4),
            nn.Sequential(nn.Conv2d(4, 5, 1, padding=1, padding_mode="reflect"), nn.BatchNorm2d(5)),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.features(x).mean((2, 3))


class Reading(Chains):
    """One that walks through a chain by itself, and reads a convolution's value besides."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.features[0][0](x)
        z = self.features[0][2](self.features[0][1](y)) + y
        for part in self.features[1]:
            z = part(z)
        return self.features[3](self.features[2](z)).mean((2, 3))


def made(kind: type[nn.Module] = Chains) -> nn.Module:
    torch.manual_seed(3)
    model = kind().eval()
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            for t in (part.weight.data, part.running_mean, part.running_var, part.bias.data):
                t.copy_(torch.rand_like(t) + 0.2)
    return model


def image(count: int = 2) -> torch.Tensor:
    return torch.rand(count, 3, 9, 9, generator=torch.Generator().manual_seed(1))


def exact(model: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The scores and the gradient of the first, in float64, by autograd alone."""
    double = type(model)().double().eval()
    double.load_state_dict(model.state_dict())
    x = x.double().requires_grad_()
    scores = double(x)
    return scores.detach(), torch.autograd.grad(scores[:, 0].sum(), x)[0]


def norms_met(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Fills with the channels of each batch norm that runs."""
    met: list[int] = []
    run = nn.BatchNorm2d.forward

    def forward(self: nn.BatchNorm2d, x: torch.Tensor) -> torch.Tensor:
        met.append(self.num_features)
        return run(self, x)

    monkeypatch.setattr(nn.BatchNorm2d, "forward", forward)
    return met


def assert_exact(model: nn.Module, trace: Any, x: torch.Tensor) -> None:
    scores, gradient = exact(model, x)
    torch.testing.assert_close(trace.outputs.double(), scores, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(trace.grads[""][0].double(), gradient, rtol=1e-4, atol=1e-6)


def test_a_pass_runs_no_batch_norm_that_follows_its_convolution_in_a_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    model, met = made(), norms_met(monkeypatch)
    trace = TorchModel(model).run(image(), at=[""], target=first)
    assert met == [4]  # it follows a chain, not a convolution
    assert_exact(model, trace, image())


def test_the_answer_tells_it() -> None:
    e = sl.explain(made(), image(1), method="gradient")
    assert e.facts()["layout"] == "channels_last, batch norms folded"
    e = sl.explain(made(), image(1), method="gradient", precision="bfloat16")
    assert e.facts()["layout"] == "channels_last"
    e = sl.explain(made().double(), image(1).double(), method="gradient")
    assert e.facts()["layout"] == "contiguous"


def test_whoever_walks_through_a_chain_himself_gets_what_it_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    model, met = made(Reading), norms_met(monkeypatch)
    trace = TorchModel(model).run(image(), at=[""], target=first)
    assert met == [6, 6, 4]  # the last chain alone is run as one
    assert_exact(model, trace, image())


@pytest.mark.parametrize(
    "place", ["features.0.0", "features.0.1", ":features.0.1", "features.1.0", "=features.0.1.weight"]
)
def test_a_place_inside_is_what_the_model_has_there(place: str) -> None:
    model, seen = made(), []
    trace = TorchModel(model).run(image(), at=[place], target=first)
    if place.startswith("="):
        scores = model(image())[:, 0].sum()
        expected = torch.autograd.grad(scores, model.get_parameter(place[1:]))[0]
        torch.testing.assert_close(trace.grads[place][0], expected, rtol=1e-4, atol=1e-6)
        return
    part = model.get_submodule(place.removeprefix(":"))
    part.register_forward_hook(lambda m, given, y: seen.append((given[0] if place[0] == ":" else y).clone()))
    model(image())
    torch.testing.assert_close(trace.values[place], seen[0].detach(), rtol=1e-5, atol=1e-6)


def test_a_batch_norm_with_a_hook_of_the_users_runs() -> None:
    model = made()
    plain = TorchModel(model).run(image()).outputs
    model.get_submodule("features.0.1").register_forward_hook(lambda m, given, y: y * 2)
    found = TorchModel(model).run(image()).outputs
    assert not torch.allclose(found, plain, rtol=1e-3)
    torch.testing.assert_close(found, model(image()).detach(), rtol=1e-5, atol=1e-6)


def test_a_rule_for_batch_norms_meets_them_all_and_one_for_relus_lets_them_be(monkeypatch: pytest.MonkeyPatch) -> None:
    model, met, places = made(), norms_met(monkeypatch), []

    def rule(op: Any) -> Any:
        places.append((op.kind, op.place))
        return (lambda y, grad: (grad,)) if op.kind == "norm" else Outgoing(lambda grad: grad)

    TorchModel(model).run(image(), at=[""], target=first, rule=only("norm", "relu")(rule))
    assert [kind for kind, _ in places].count("norm") == 4 and met == [6, 6, 4, 5]
    met.clear()
    trace = TorchModel(model).run(image(), at=[""], target=first, rule=only("relu")(rule))
    assert met == [4]
    assert_exact(model, trace, image())


def changes() -> dict[str, Any]:
    def step(model: Any) -> None:
        with torch.no_grad():
            model.features[0][0].weight.mul_(1.5)

    def data(model: Any) -> None:
        model.features[1][1].bias.data.add_(0.5)

    def assigned(model: Any) -> None:
        model.features[0][0].weight.data = model.features[0][0].weight.data * 0.5

    def statistics(model: Any) -> None:
        model.features[0][1].running_var.mul_(3)

    def replaced(model: Any) -> None:
        model.features[0][1].running_mean = torch.ones(6)

    def epsilon(model: Any) -> None:
        model.features[0][1].eps = 0.7

    def loaded(model: Any) -> None:
        model.load_state_dict({k: v * 0.9 for k, v in model.state_dict().items()}, assign=True)

    return {f.__name__: f for f in (step, data, assigned, statistics, replaced, epsilon, loaded)}


@pytest.mark.parametrize("change", list(changes()))
def test_a_change_of_the_weights_is_seen_by_the_next_pass(change: str) -> None:
    model, x = made(), image()
    TorchModel(model).run(x)
    changes()[change](model)
    torch.testing.assert_close(TorchModel(model).run(x).outputs, model(x).detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("change", ["step", "statistics"])
def test_a_change_between_the_passes_of_a_call_is_seen(change: str) -> None:
    model, x = made(), image()
    adapted = TorchModel(model)
    with adapted.held():
        before = adapted.run(x).outputs
        changes()[change](model)
        after = adapted.run(x).outputs
    assert not torch.allclose(before, after, rtol=1e-3)
    torch.testing.assert_close(after, model(x).detach(), rtol=1e-5, atol=1e-6)


def test_a_model_that_becomes_half_or_double_is_not_folded_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = made(), image()
    TorchModel(model).run(x)
    model.double()
    met = norms_met(monkeypatch)
    found = TorchModel(model).run(x.double()).outputs
    assert met == [6, 6, 4, 5]
    torch.testing.assert_close(found, model(x.double()).detach(), rtol=1e-12, atol=1e-12)


def test_one_convolution_in_two_chains_has_the_batch_norm_of_each() -> None:
    conv = nn.Conv2d(3, 3, 3, padding=1)
    model = nn.Sequential(
        nn.Sequential(conv, nn.BatchNorm2d(3)), nn.Sequential(conv, nn.BatchNorm2d(3, eps=2.0))
    ).eval()
    x = image()
    torch.testing.assert_close(TorchModel(model).run(x).outputs, model(x).detach().contiguous(), rtol=1e-5, atol=1e-6)


def test_a_few_chains_among_other_batch_norms_are_left_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    class Norms(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.chain = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))
            self.norm = nn.BatchNorm2d(3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.norm(self.chain(x)).mean((2, 3))

    met = norms_met(monkeypatch)
    TorchModel(Norms().eval()).run(image())
    assert met == [3, 3]


def test_a_tail_is_that_of_the_whole_pass() -> None:
    model, x = made(), image(1)
    adapted = TorchModel(model)
    with adapted.held():
        memory = adapted.remember(x, "features.1.2")
        assert memory is not None
        a = memory.trace.values["features.1.2"]
        halved = torch.cat([a * 0.5, a])
        found = adapted.run(x, edit={"features.1.2": halved}, memory=memory).outputs
        inside = adapted.run(x, edit={"features.1.2": halved, "features.1.3": lambda y: y * 2}, memory=memory).outputs
    z = halved
    expected = model.features[3](model.features[2](model.features[1][3](z))).mean((2, 3))
    doubled = model.features[3](model.features[2](model.features[1][3](z) * 2)).mean((2, 3))
    torch.testing.assert_close(found, expected.detach(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(inside, doubled.detach(), rtol=1e-5, atol=1e-6)


def test_maps_of_a_folded_net_are_those_of_the_net_in_float64() -> None:
    model, x = made(), image(1)
    double = made().double()
    for name in ("gradient", "smoothgrad", "integrated-gradients", "guided-backprop", "occlusion", "lrp-epsilon"):
        options: dict[str, Any] = {"target": 0, "method": name}
        if name == "occlusion":
            options |= {"window": 3, "stride": 3}
        found = sl.explain(model, x.numpy(), **options).attribution
        expected = sl.explain(double, x.double().numpy(), **options).attribution
        np.testing.assert_allclose(found, expected, rtol=0, atol=3e-4 * np.abs(expected).max(), err_msg=name)
