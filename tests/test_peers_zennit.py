"""Relevance beside zennit's, where that is right, and the differences where it is not."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn
from torchvision.models.mobilenetv2 import InvertedResidual
from zennit import composites, rules
from zennit.attribution import Gradient
from zennit.canonizers import Canonizer, SequentialMergeBatchNorm
from zennit.layer import Sum
from zennit.torchvision import ResNetCanonizer
from zennit.types import Linear

from sightline.frameworks.torch import TorchModel
from sightline.method import METHODS
from sightline.model import Target
from sightline.rules.lrp import composite
from sightline.rules.weights import alpha_beta_rule, epsilon_rule, flat_rule, w_square_rule
from test_peers_rules import apart, cat, ending, images, mobilenet, score

FRAMEWORKS = ("torch",)

TINY = 1e-12  # zennit moves every divisor by something; sightline only those that the definition moves
BOX = (-3.0, 3.0)
CASES: dict[str, dict[str, Any]] = {
    "lrp-epsilon": {"epsilon": 1e-4},
    "lrp-gamma": {"gamma": 0.3},
    "lrp-z-plus": {},
    "lrp-alpha-beta": {},
    "lrp-w-square": {},
    "lrp-flat": {},
    "lrp-epsilon-plus-flat": {"epsilon": 1e-9},
    "lrp-epsilon-gamma-box": {"epsilon": 1e-9},
    "lrp-epsilon-alpha2-beta1": {"epsilon": 1e-9},
}


def of_zennit(name: str, *canonizers: Canonizer) -> Any:
    """zennit's composite of the same definition. Its w² rule counts the bias as one more weight unless told."""
    ways: dict[str, Any] = {"canonizers": list(canonizers)}
    if name == "lrp-epsilon-plus-flat":
        return composites.EpsilonPlusFlat(1e-9, 1e-9, **ways)
    if name == "lrp-epsilon-gamma-box":
        return composites.EpsilonGammaBox(*map(torch.tensor, BOX), epsilon=1e-9, stabilizer=1e-9, **ways)
    if name == "lrp-epsilon-alpha2-beta1":
        return composites.EpsilonAlpha2Beta1(1e-9, 1e-9, **ways)
    of_weights = {
        "lrp-epsilon": rules.Epsilon(1e-4),
        "lrp-gamma": rules.Gamma(0.3, TINY),
        "lrp-z-plus": rules.ZPlus(TINY),
        "lrp-alpha-beta": rules.AlphaBeta(2, 1, TINY),
        "lrp-w-square": rules.WSquare(TINY, zero_params=["bias"]),
        "lrp-flat": rules.Flat(TINY),
    }
    others = composites.layer_map_base(1e-4 if name == "lrp-epsilon" else TINY)
    return composites.LayerMapComposite([*others, (Linear, of_weights[name])], **ways)


def relevance(module: nn.Module, name: str, x: torch.Tensor) -> torch.Tensor:
    options = CASES[name]
    if name == "lrp-epsilon-gamma-box":
        options = options | {key: torch.full_like(x, side) for key, side in zip(("low", "high"), BOX)}
    return METHODS[name].attribute(TorchModel(module), x, Target(score), **options)[0][0]


OF_WEIGHTS = {"lrp-z-plus": alpha_beta_rule(1.0, 0.0), "lrp-w-square": w_square_rule, "lrp-flat": flat_rule}


def with_their_sums(module: nn.Module, name: str, x: torch.Tensor) -> torch.Tensor:
    """zennit divides additions and averages in proportion to the values, whatever the rule of the weights."""
    if name not in OF_WEIGHTS:
        return relevance(module, name, x)
    rule = composite(OF_WEIGHTS[name], OF_WEIGHTS[name], sums=epsilon_rule(0.0))
    return TorchModel(module).run(x, at=[""], target=Target(score), rule=rule).grads[""][0]


def by_zennit(module: nn.Module, composite: Any, x: torch.Tensor) -> torch.Tensor:
    def start(outputs: torch.Tensor) -> torch.Tensor:
        return outputs * F.one_hot(torch.tensor(3), outputs.shape[1])

    with Gradient(copy.deepcopy(module).eval(), composite, attr_output=start) as attributor:
        return attributor(x.clone())[1].detach()


def with_norms(module: nn.Module, epsilon: float = 1e-14) -> nn.Module:
    """Normalisations that do something. zennit leaves one of mean 0 and variance 1 + ε behind: here next to nothing."""
    torch.manual_seed(2)
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.weight, 0.5, 1.5), nn.init.normal_(norm.bias, std=0.2)
            nn.init.normal_(norm.running_mean, std=0.2), norm.running_var.uniform_(0.5, 2)
            norm.eps = epsilon
    return module.double().eval()


def resnet(epsilon: float = 1e-14) -> nn.Module:
    torch.manual_seed(0)
    return with_norms(torchvision.models.resnet18(num_classes=10), epsilon)


@pytest.mark.parametrize("name", CASES)
def test_a_small_net_and_resnet_equal_zennit(name: str) -> None:
    net = ending(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(6, 8, 3), nn.ReLU(), nn.MaxPool2d(2)
    )
    x = images(16)[0]
    assert apart(by_zennit(net, of_zennit(name), x), with_their_sums(net, name, x)) < 1e-6
    net, x = resnet(), images(64)[0]
    assert apart(by_zennit(net, of_zennit(name, ResNetCanonizer()), x), with_their_sums(net, name, x)) < 1e-6


def test_zennits_z_plus_rule_divides_an_addition_by_values_of_both_signs() -> None:
    """A sum of 4 and -3 hands on 4 R and -3 R there; here its positive part has all of it."""
    net, x = resnet(), images(64)[0]
    theirs = by_zennit(net, of_zennit("lrp-z-plus", ResNetCanonizer()), x)
    assert apart(theirs, relevance(net, "lrp-z-plus", x)) > 0.01


def test_zennit_keeps_an_epsilon_of_the_normalisation_that_it_merged() -> None:
    net, x = resnet(1e-3), images(64)[0]
    found = relevance(net, "lrp-gamma", x)
    assert apart(by_zennit(net, of_zennit("lrp-gamma", ResNetCanonizer()), x), found) > 1e-3


def test_zennit_counts_a_bias_as_a_weight_in_the_w_square_rule() -> None:
    """Then relevance is lost to it, though the rule is to hand on all; sightline leaves the bias out."""
    net, x = ending(nn.Conv2d(3, 6, 3), nn.ReLU()), images(16)[0]
    kept = [found.flatten(1).sum(1) for found in (relevance(net, "lrp-w-square", x), weighing_the_bias(net, x))]
    torch.testing.assert_close(kept[0], net(x)[:, 3].detach())
    assert ((kept[1] - kept[0]) / kept[0]).abs().min() > 1e-3


def weighing_the_bias(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    whole = composites.LayerMapComposite([*composites.layer_map_base(TINY), (Linear, rules.WSquare(TINY))])
    return by_zennit(net, whole, x)


def test_zennit_does_not_see_an_addition_without_a_canoniser() -> None:
    """Both branches get the whole relevance: after eight additions the maps sum to 2⁸ of what they should."""
    net, x = resnet(), images(64)[0]
    total = [
        found.flatten(1).sum(1)
        for found in (
            relevance(net, "lrp-flat", x),
            by_zennit(net, of_zennit("lrp-flat", SequentialMergeBatchNorm()), x),
        )
    ]
    assert (total[1] / total[0]).min() > 100


class Turned(nn.Module):
    """The layer that the image goes into is registered last."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.two, self.head, self.one = nn.Conv2d(6, 8, 3), nn.Linear(8, 5), nn.Conv2d(3, 6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(F.relu(self.two(F.relu(self.one(x)))).amax((2, 3)))


def test_zennits_first_layer_is_the_one_that_was_registered_first() -> None:
    net, x = Turned().double().eval(), images(16)[0]
    found, expected = by_zennit(net, of_zennit("lrp-epsilon-plus-flat"), x), relevance(net, "lrp-epsilon-plus-flat", x)
    assert apart(found, expected) > 0.1
    net._modules = {key: net._modules[key] for key in ("one", "two", "head")}
    assert apart(by_zennit(net, of_zennit("lrp-epsilon-plus-flat"), x), expected) < 1e-6


class Added(nn.Module):
    """A residual block of MobileNetV2 whose addition zennit sees."""

    def __init__(self, block: InvertedResidual) -> None:
        super().__init__()
        self.conv, self.sum = block.conv, Sum()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.sum(torch.stack([x, self.conv(x)], -1))


def told(module: nn.Module) -> nn.Module:
    """MobileNetV2 with its additions and its average as modules: zennit takes functions for their derivatives."""
    module = copy.deepcopy(module)
    for i, block in enumerate(module.features):
        if isinstance(block, InvertedResidual) and block.use_res_connect:
            module.features[i] = Added(block)
    return nn.Sequential(module.features, nn.AdaptiveAvgPool2d(1), nn.Flatten(), module.classifier).eval()


@pytest.mark.assets
@pytest.mark.parametrize("name", ["lrp-epsilon", "lrp-gamma", "lrp-z-plus", "lrp-epsilon-plus-flat"])
def test_mobilenet_equals_zennit_once_it_sees_every_operation(assets: Path, name: str) -> None:
    module, x = mobilenet(), cat()
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_var += norm.eps - 1e-14
            norm.eps = 1e-14
    found, merged = with_their_sums(module, name, x), of_zennit(name, SequentialMergeBatchNorm())
    assert apart(by_zennit(told(module), merged, x), found) < 1e-6
    assert apart(found, by_zennit(module, merged, x)) > 0.5
