"""Errors of other libraries in backward rules, seen in them by running; each test shows that sightline does not make it.

The numbers run on from `test_peers_errors_methods.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nets import build, snapshot
from test_peers_errors_torch import IMAGES, NET, Functional, batch, class_3, explained, few, found

FRAMEWORKS = ("torch",)
DIFFERENCES = ("deep-lift", "deep-shap")
RELEVANCE = ("lrp-epsilon", "lrp-gamma", "lrp-z-plus", "lrp-alpha-beta", "lrp-epsilon-plus-flat", "excitation-backprop")
SEEDED = np.random.default_rng(7).normal(size=IMAGES.shape).transpose(0, 3, 1, 2).copy()


def reference() -> torch.Tensor:
    return torch.as_tensor(SEEDED)


def of(name: str) -> dict[str, Any]:
    return {"baseline": reference()} if name in DIFFERENCES else {}


class Attends(nn.Module):
    """A softmax in the middle of the net, its weights those of a sum."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.one, self.head = nn.Conv2d(3, 6, 3), nn.Linear(6, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = self.one(x).flatten(2)
        return self.head((z * z.mean(1, keepdim=True).softmax(2)).sum(2))


def test_46_a_softmax_does_not_reach_into_the_neighbours() -> None:
    """captum DeepLift sums a softmax's correction over the whole batch: a map of two images is another than that of
    one, 0.23 of 0.38 apart. Here a softmax at the end is left out, and one in the middle is refused."""
    net, behind = build(NET), nn.Sequential(build(NET), nn.Softmax(1))
    together = found(behind, "deep-lift", batch(), **of("deep-lift"))
    np.testing.assert_allclose(together, found(net, "deep-lift", batch(), **of("deep-lift")), atol=1e-12)
    for i in range(3):
        alone = found(behind, "deep-lift", batch()[i : i + 1], baseline=reference()[i : i + 1])
        np.testing.assert_allclose(alone[0], together[i], rtol=0, atol=1e-12)
    with pytest.raises(Exception, match="has 'softmax'"):
        found(Attends().double(), "deep-lift", batch(), **of("deep-lift"))


@pytest.mark.parametrize("name", [*DIFFERENCES, *RELEVANCE])
def test_47_a_relu_that_is_a_function_has_its_rule(name: str) -> None:
    """captum DeepLift: with F.relu silently the derivative, 0.25 of the score unexplained; LRP and zennit see modules
    alone."""
    expected = found(build(NET), name, batch(), **of(name))
    np.testing.assert_allclose(found(Functional(), name, batch(), **of(name)), expected, rtol=0, atol=1e-12)
    if name in DIFFERENCES:
        with torch.no_grad():
            change = (Functional()(batch()) - Functional()(reference()))[:, 3]
        np.testing.assert_allclose(expected.flatten(1).sum(1), change, rtol=1e-9)


@pytest.mark.parametrize("name", [*DIFFERENCES, *RELEVANCE])
def test_48_a_users_hook_does_not_take_the_rules_place(name: str) -> None:
    """captum DeepLift passes over a module that has a backward hook already: a hook that does nothing moves the map."""
    expected, module = found(build(NET), name, batch(), **of(name)), build(NET)
    module.relu1.inplace = module.relu2.inplace = False
    for layer in (module.conv1, module.relu1, module.pool1, module.relu2):
        layer.register_full_backward_hook(lambda m, given, out: None)
    np.testing.assert_allclose(found(module, name, batch(), **of(name)), expected, rtol=0, atol=1e-12)


def test_49_max_pooling_asks_each_image_for_itself() -> None:
    """captum DeepLift: where pooling's input is that of the reference, each image of a batch takes the first one's
    gradient; its windows that overlap overwrite one another."""
    torch.manual_seed(0)
    pool = nn.MaxPool2d(3, 1)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), pool, nn.ReLU(), nn.Flatten(), nn.LazyLinear(5)).double()
    net(batch())
    with torch.no_grad():
        net[0].weight.copy_(torch.randint(-4, 5, net[0].weight.shape) / 8)
        net[0].weight[:, :, 1, 1] -= net[0].weight.sum((2, 3))  # a constant does not show behind it
    x, others = batch(), reference()
    others[1] = x[1] - 1
    together = found(net, "deep-lift", x, baseline=others)
    for i in range(3):
        alone = found(net, "deep-lift", x[i : i + 1], baseline=others[i : i + 1])
        np.testing.assert_allclose(alone[0], together[i], rtol=0, atol=1e-12)
    with torch.no_grad():
        change = (net(x) - net(others))[:, 3]
    assert abs(change[1]) < 1e-12 < 1e-3 < change[[0, 2]].abs().min()
    np.testing.assert_allclose(together.flatten(1).sum(1), change, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["lrp-gamma", "lrp-alpha-beta", "lrp-epsilon"])
def test_50_the_options_of_a_rule_hold_for_every_call(name: str) -> None:
    """captum LRP deletes the rules that the user set at the end of its first call: the second is another map by 0.30
    of its largest value, and says nothing."""
    options = {
        "lrp-gamma": {"gamma": 2.0},
        "lrp-epsilon": {"epsilon": 0.5},
        "lrp-alpha-beta": {"alpha": 3.0, "beta": 2.0},
    }
    module = build(NET)
    plain = found(module, name, batch())
    maps = [found(module, name, batch(), **options[name]) for _ in range(3)]
    assert (maps[0] - plain).abs().max() > 0.01 * plain.abs().max()
    for again in maps[1:]:
        np.testing.assert_array_equal(again, maps[0])


COMMON: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "flatten": lambda x: nn.Flatten(2)(x).reshape(x.shape),
    "identity": nn.Identity(),
    "dropout": nn.Dropout2d(0.5).eval(),
    "relu6": lambda x: 8 * nn.ReLU6()(x / 8),
    "leaky": lambda x: nn.LeakyReLU(1.0)(x),
    "batch norm": nn.BatchNorm2d(6, eps=1e-30).double().eval(),
}


class Between(nn.Module):
    """The small net with something before its second ReLU."""

    def __init__(self, between: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.layers, self.between = build(NET), between

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        net = self.layers
        x = net.conv2(net.pool1(F.relu(net.conv1(x))))
        return net.head(net.flatten(net.mean(F.relu(self.between(x)))))


@pytest.mark.parametrize("kind", COMMON)
@pytest.mark.parametrize("name", RELEVANCE)
def test_51_layers_that_change_nothing_of_relevance_are_taken(name: str, kind: str) -> None:
    """captum LRP: TypeError on nn.Flatten, nn.Identity, ReLU6, LayerNorm and others."""
    tame = 0.1 * batch()
    expected = found(build(NET), name, tame)
    np.testing.assert_allclose(
        found(Between(COMMON[kind]), name, tame), expected, rtol=0, atol=1e-10 * expected.abs().max().item()
    )


@pytest.mark.parametrize("name", [*DIFFERENCES, *RELEVANCE])
def test_52_parameters_are_the_same_objects_after_a_rule_has_changed_them(name: str) -> None:
    """zennit at HEAD: after one pass of LRP 22 of ResNet-18's 62 parameters are new objects, 20 keys of biases are
    added, and an optimiser made before owns them no longer."""
    torch.manual_seed(0)
    convolution = nn.Conv2d(3, 4, 3, bias=False)  # zennit gives it a bias when it merges the normalisation
    module = nn.Sequential(
        convolution, nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)
    )
    module = module.double()
    before, mine, keys = snapshot(module), list(module.parameters()), list(module.state_dict())
    optimiser = torch.optim.SGD(mine, lr=0.1)
    answer = explained(module.eval(), batch(), method=name, target=3, **few(name))
    module.train()
    assert np.abs(answer.attribution).max() > 0
    assert snapshot(module) == before
    assert all(a is b for a, b in zip(module.parameters(), mine, strict=True))
    assert list(module.state_dict()) == keys
    assert convolution.bias is None
    class_3(module(batch())).sum().backward()
    old = mine[0].detach().clone()
    optimiser.step()
    assert (module[0].weight.detach() - old).abs().max() > 0


@pytest.mark.parametrize("name", [*RELEVANCE, "contrastive-excitation-backprop", "extremal-perturbation", "gradient"])
def test_53_parameters_that_learnt_before_learn_afterwards(name: str) -> None:
    """TorchRay extremal_perturbation leaves all parameters frozen; its other methods freeze them without try/finally,
    so that an exception leaves them frozen too."""
    module = build(NET)
    module.conv1.bias.requires_grad_(False)
    before = [p.requires_grad for p in module.parameters()]
    explained(module, batch(), method=name, target=3, **few(name))
    assert [p.requires_grad for p in module.parameters()] == before == [True, False, True, True, True, True]

    def fails(scores: torch.Tensor) -> torch.Tensor:
        raise IndexError("broken")

    with pytest.raises(Exception, match="broken"):
        explained(module, batch(), method=name, target=fails, **few(name))
    assert [p.requires_grad for p in module.parameters()] == before
