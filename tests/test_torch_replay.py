"""A tail answered from memory gives what the whole pass gives; where it would not, the whole pass is run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

import sightline as sl
from sightline.frameworks.torch import TorchModel
from sightline.model import Target
from sightline.tail import Tail
from torch_nets import image, made

FRAMEWORKS = ("torch",)
NETS = {
    "resnet18": ("layer3.1.bn2", "layer4"),
    "densenet121": ("features.denseblock3.denselayer5.conv2",),
    "mobilenet_v2": ("features.10.conv.1",),
    "vgg11_bn": ("features.15",),
    "regnet_y_400mf": ("trunk_output.block3.block3-1.f.b",),
    "vit_b_16": ("encoder.layers.encoder_layer_8.ln_1",),
    "swin_t": ("features.5.2.attn",),
    "convnext_tiny": ("features.5.3",),
    "shufflenet_v2_x0_5": ("stage3.1.branch2",),
    "efficientnet_b0": ("features.4.1.block.1",),
}
CASES = [(name, place) for name, places in NETS.items() for place in places]


def second(outputs: torch.Tensor) -> torch.Tensor:
    return outputs[None, :, 1]


def both(model: TorchModel, place: str, x: torch.Tensor, copies: int, **more: Any) -> tuple[Any, Any]:
    """The trace of the tail from memory, and of the whole pass, of several values at the place."""
    (layer,) = (layer for layer in model.places(x) if layer.name == place)
    value = model.run(x, at=[place]).values[place]
    other = torch.randn(value.shape, dtype=value.dtype, generator=torch.Generator().manual_seed(2))
    values = torch.cat([value + i * value.std() * other for i in range(copies)])
    tail = Tail(model, layer, x)
    assert tail.memory is not None
    target = Target(second)
    whole = model.run(x.repeat(copies, 1, 1, 1), edit={place: values}, target=target, at=[place])
    return tail.run(values, target=target, at=[""], **more), whole


@pytest.mark.parametrize(("name", "place"), CASES)
def test_the_tail_of_a_well_known_net_is_that_of_the_whole_pass(name: str, place: str) -> None:
    torch.manual_seed(0)
    side = 224 if name.startswith("vit") else 64
    net = torchvision.models.get_model(name, weights=None).double().eval()
    for module in net.modules():  # some start from zeros
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.1)
    x = torch.randn(2, 3, side, side, dtype=torch.float64)
    found, whole = both(TorchModel(net), place, x, 3)
    scale = whole.outputs.abs().max().item()
    torch.testing.assert_close(found.outputs, whole.outputs, rtol=0, atol=1e-12 * scale)
    assert (whole.outputs[:2] - whole.outputs[2:4]).abs().max() > 1e-6 * scale
    expected = whole.grads[place]
    torch.testing.assert_close(found.grads[""], expected, rtol=0, atol=1e-12 * expected.abs().max().item())


class Counted(nn.Module):
    """Two convolutions with a skip over the second; counts what runs, and does `odd` between."""

    def __init__(self, odd: Callable[[torch.Tensor], torch.Tensor] = lambda a: a) -> None:
        super().__init__()
        self.one, self.act, self.two = nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 4, 3, padding=1)
        self.head, self.odd = nn.Linear(4, 5), odd

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a = self.act(self.one(x))
        b = self.two(a)
        return self.head((self.odd(a) + b).mean((2, 3)))


@pytest.mark.parametrize("odd", [lambda a: a, lambda a: a.mul_(2), lambda a: F.relu(a, inplace=True), torch.tanh])
def test_a_skip_is_read_from_memory(odd: Callable[[torch.Tensor], torch.Tensor]) -> None:
    module = made(lambda: Counted(odd)).eval()
    model, x = TorchModel(module), image()
    (layer,) = (layer for layer in model.places(x) if layer.name == "two")
    values = torch.randn(6, 4, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = Tail(model, layer, x).run(values)
    torch.testing.assert_close(found.outputs, model.run(x.repeat(3, 1, 1, 1), edit={"two": values}).outputs)
    torch.testing.assert_close(Tail(model, layer, x).run(values).outputs, found.outputs)


class Fickle(Counted):
    """Overwrites what its second convolution gave, but only where that is large."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b = self.two(self.act(self.one(x)))
        return self.head((b.clamp_(max=9) if b.max() > 9 else b).mean((2, 3)))


@pytest.mark.parametrize("odd", [lambda a: a, lambda a: a.mul_(2)])
def test_values_that_are_given_stay_as_they_are(odd: Callable[[torch.Tensor], torch.Tensor]) -> None:
    model = TorchModel(made(lambda: Counted(odd)).eval())
    values = torch.randn(2, 4, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    kept = values.clone()
    outputs = [model.run(image(), edit={"act": values}).outputs for _ in range(3)]
    assert torch.equal(values, kept)
    assert torch.equal(outputs[0], outputs[1]) and torch.equal(outputs[0], outputs[2])


def test_a_model_that_overwrites_some_values_only_is_told_of() -> None:
    model = TorchModel(made(Fickle).eval())
    small = torch.zeros(2, 4, 6, 6, dtype=torch.float64)
    large = small + 10
    whole = model.run(image(), edit={"two": large}).outputs
    torch.testing.assert_close(whole, model.run(image(), edit={"two": small + 9}).outputs)
    assert torch.equal(large, small + 10)
    model.run(image(), edit={"two": small})  # is left as it is: from now on it is not copied
    with pytest.raises(sl.ModelError, match="'two'"):
        model.run(image(), edit={"two": large})


def test_what_lies_before_the_layer_is_run_once() -> None:
    calls: list[int] = []

    class Noted(nn.Conv2d):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            calls.append(len(x))
            return super().forward(x)

    module = made(
        lambda: nn.Sequential(Noted(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(96, 5))
    )
    x = image()
    found = sl.explain(module.eval(), x, method="ablation-cam", target=2, layer="3")
    assert calls == [1, 1, 2]  # which layers there are, which are read, and the memory, which tells the features
    expected = _ablated(module, x, 2)
    np.testing.assert_allclose(found.attribution, expected, rtol=1e-6, atol=1e-9)


def _ablated(module: nn.Sequential, x: torch.Tensor, c: int) -> np.ndarray:
    with torch.no_grad():
        a = module[:4](x)
        score = module[4:](a)[:, c]
        falls = []
        for k in range(6):
            less = a.clone()
            less[:, k] = 0
            falls.append((score - module[4:](less)[:, c]) / score.abs())
    cam = (torch.stack(falls, 1)[..., None, None] * a).sum(1).clamp(min=0)
    return cam.numpy()


class Global(nn.Module):
    """What comes after reads a field that a module before the layer has set in passing."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.head, self.kept = Sets(), nn.Conv2d(4, 4, 3), nn.Linear(4, 5), None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.one.level = None
        b = self.two(self.one(x))
        return self.head(b.mean((2, 3))) * self.one.level


class Sets(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.level = nn.Conv2d(3, 4, 3), None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x)
        self.level = y.mean()
        return y


def test_where_memory_does_not_hold_the_whole_pass_is_run() -> None:
    module = made(Global).eval()
    model, x = TorchModel(module), image()
    (layer,) = (layer for layer in model.places(x) if layer.name == "two")
    tail = Tail(model, layer, x)
    assert tail.memory is None
    values = torch.randn(4, 4, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(tail.run(values).outputs, model.run(x.repeat(2, 1, 1, 1), edit={"two": values}).outputs)


def test_weights_that_change_between_two_calls_are_those_of_the_second() -> None:
    module = made(Counted).eval()
    x = image()
    first = sl.explain(module, x, method="ablation-cam", layer="two", target=1).attribution
    with torch.no_grad():
        module.one.weight *= 1.5
    second_map = sl.explain(module, x, method="ablation-cam", layer="two", target=1).attribution
    assert np.abs(first - second_map).max() > 1e-3 * np.abs(first).max()
    fresh = made(Counted).eval()
    fresh.load_state_dict(module.state_dict())
    np.testing.assert_array_equal(
        sl.explain(fresh, x, method="ablation-cam", layer="two", target=1).attribution, second_map
    )
