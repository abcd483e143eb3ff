"""One pass of the PyTorch adapter: places, edits, gradients, tails, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from torch import nn
from torchvision.models.resnet import BasicBlock, ResNet

import sightline as sl
from sightline.frameworks.torch import TorchModel
from sightline.model import Trace
from sightline.tail import Tail
from torch_nets import close, image, made, second

FRAMEWORKS = ("torch",)


def three(y: torch.Tensor) -> torch.Tensor:
    return torch.stack([y[:, 0], y[:, 2] - y[:, 1], y[:, 1].square()])


class Branches(nn.Module):
    """A reused ReLU in place, a layer that nothing uses, a skip, and a layer that a pass never reaches."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.aside = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(3, 2, 1)
        self.relu, self.never, self.head = nn.ReLU(inplace=True), nn.Linear(2, 2), nn.Linear(4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.aside(x)
        a = self.one(x)
        b = self.relu(a)
        c = self.relu(self.two(b) + b)
        return self.head(c.mean((2, 3)) + a.amax((2, 3)))

    def by_hand(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Every value, out of place; a layer's gradient is through what the layer returned."""
        one = self.one(x)
        both = one.relu()
        first = both.clone()
        two = self.two(first)
        last = (two + first).relu()
        pooled = last.mean((2, 3)) + both.amax((2, 3))
        return {
            "": x,
            "one": one,
            "relu": first,
            "two": two,
            "relu:2": last,
            ":head": pooled,
            "head": self.head(pooled),
            "=head.weight": self.head.weight,
            "=one.bias": self.one.bias,
        }


def expected(module: Branches, x: torch.Tensor, score: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """Values and gradients (k, n, ...) by hand."""
    values = module.by_hand(x.clone().requires_grad_())
    scores = torch.atleast_2d(score(values["head"]))
    found = [torch.autograd.grad(row.sum(), list(values.values()), retain_graph=True) for row in scores]
    return values, dict(zip(values, (torch.stack(each) for each in zip(*found))))


PLACES = ["", "one", "relu", "two", "relu:2", ":head", "head", "=head.weight", "=one.bias"]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("score", [second, three])
def test_value_and_gradient_at_one_place(place: str, score: Callable[..., torch.Tensor]) -> None:
    module = made(Branches)
    values, grads = expected(module, image(), score)
    for _ in range(2):
        trace = TorchModel(module).run(image(), at=[place], target=score)
        close(trace.values[place], values[place].detach())
        close(trace.grads[place], grads[place])
        assert list(trace.grads) == [place]
        close(trace.score, torch.atleast_2d(score(values["head"])).detach())
        assert not any(t.requires_grad for t in (trace.outputs, trace.score, *trace.values.values()))


def test_several_places_in_one_pass_agree_with_each_alone() -> None:
    module = made(Branches)
    together = TorchModel(module).run(image(), at=PLACES, target=three)
    values, grads = expected(module, image(), three)
    for place in PLACES:
        close(together.values[place], values[place].detach())
        close(together.grads[place], grads[place])


def test_a_layer_that_nothing_uses_has_no_gradient_but_zero() -> None:
    trace = TorchModel(made(Branches)).run(image(), at=["", "aside"], target=three)
    assert trace.grads["aside"].shape == (3, 2, 2, 8, 8)
    assert trace.grads["aside"].abs().max() == 0
    assert trace.grads[""].abs().max() > 0


EDITS: dict[str, tuple[Any, Callable[[Branches, torch.Tensor], torch.Tensor]]] = {
    "": (lambda x: 2 * x, lambda m, x: m.by_hand(2 * x)["head"]),
    "two": (lambda y: y + 1, lambda m, x: _after_two(m, x, m.two(m.one(x).relu()) + 1)),
    "relu:2": (lambda y: 0 * y, lambda m, x: m.head(m.one(x).relu().amax((2, 3)))),
    ":head": (torch.ones(2, 4).double(), lambda m, x: m.head(torch.ones(2, 4).double())),
    "=head.weight": (torch.ones(5, 4).double(), lambda m, x: m.by_hand(x)[":head"].sum(1, True) + m.head.bias),
    "=head.bias": (lambda b: b - 3, lambda m, x: m.by_hand(x)["head"] - 3),
    "head": (lambda y: -y, lambda m, x: -m.by_hand(x)["head"]),
}


def _after_two(m: Branches, x: torch.Tensor, two: torch.Tensor) -> torch.Tensor:
    first = m.one(x).relu()
    return m.head((two + first).relu().mean((2, 3)) + first.amax((2, 3)))


@pytest.mark.parametrize("place", EDITS)
def test_an_edit_stands_in_place_of_the_value(place: str) -> None:
    module = made(Branches)
    edit, by_hand = EDITS[place]
    changed = by_hand(module, image()).detach()
    assert not torch.allclose(changed, module.by_hand(image())["head"])
    close(TorchModel(module).run(image(), edit={place: edit}).outputs, changed)
    recorded = TorchModel(module).run(image(), at=[place], edit={place: edit}, target=second)
    close(recorded.outputs, changed)
    if isinstance(edit, torch.Tensor):
        assert torch.equal(recorded.values[place], edit)
    close(TorchModel(module).run(image()).outputs, module.by_hand(image())["head"].detach())


def test_an_array_that_was_put_in_is_not_written_by_an_operation_in_place() -> None:
    given = torch.randn(2, 4, 6, 6, dtype=torch.float64)
    kept, x = given.clone(), image()
    TorchModel(made(Branches)).run(x, edit={"one": given})
    TorchModel(made(Branches)).run(x, edit={"one": lambda y: given}, at=["head"], target=second)
    assert torch.equal(given, kept)
    first = nn.Sequential(nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(192, 2)).double()
    TorchModel(first).run(x, at=[""], target=second)
    TorchModel(first).run(x)
    assert torch.equal(x, image())


@pytest.mark.parametrize("place", ["nothing", "one:x", "=one.nothing", "=nothing.weight", "never", "relu:3", ":never"])
def test_a_place_that_is_not_there_is_refused_in_two_lines(place: str) -> None:
    module = made(Branches)
    for asked in ({"at": [place]}, {"edit": {place: lambda y: y}}):
        with pytest.raises(sl.LayerError) as caught:
            TorchModel(module).run(image(), **asked)
        assert str(caught.value).count("\n") == 1
        assert repr(place) in str(caught.value)


def saved(run: Callable[[], Trace]) -> int:
    """Numbers that autograd keeps for the way back."""
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        run()
    return sum(kept.values())


def test_the_trunk_below_the_shallowest_place_keeps_no_graph() -> None:
    model = TorchModel(torchvision.models.resnet18().eval())
    x = torch.randn(1, 3, 64, 64)
    whole = saved(lambda: model.run(x, at=[""], target=second))
    assert 0 < saved(lambda: model.run(x, at=["layer4"], target=second)) < 0.2 * whole
    assert 0 < saved(lambda: model.run(x, at=["layer4", "layer4.1"], target=second)) < 0.6 * whole
    assert saved(lambda: model.run(x, target=second)) == 0


class Keyword(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale, self.fc = nn.Softplus(), nn.Linear(192, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(input=self.scale(input=x).flatten(1))


def test_the_input_of_a_layer_that_is_called_by_keyword() -> None:
    module = made(Keyword)
    trace = TorchModel(module).run(image(), at=[":scale", ":fc"], target=second)
    close(trace.values[":scale"], image())
    close(trace.grads[":fc"][0], module.fc.weight[1].detach().expand(2, 192))


def residual_net() -> nn.Module:
    torch.manual_seed(0)
    return ResNet(BasicBlock, [1, 1, 1, 1], num_classes=5).double().eval()


def larger(n: int = 2) -> torch.Tensor:
    return torch.randn(n, 3, 48, 48, dtype=torch.float64)


@pytest.mark.parametrize("name", ["layer2.0.conv1", "layer2.0.bn2", "layer1", "layer3.0.relu", "layer2.0.downsample"])
def test_a_tail_across_a_skip_connection(name: str) -> None:
    """The unchanged activation gives the unchanged answer; a changed one gives what an edit gives."""
    model, x = TorchModel(residual_net()), larger()
    layer = next(layer for layer in model.places(x) if layer.name == name)
    whole = model.run(x, at=[name], target=three)
    a = whole.values[name]
    tail = Tail(model, layer, x)
    trace = tail.run(a, at=[""], target=three)
    close(trace.outputs, whole.outputs)
    close(trace.score, whole.score)
    close(trace.grads[""], whole.grads[name])
    copies = tail.run(torch.cat([a, 2 * a]), target=second)
    close(copies.score[0, :2], whole.outputs[:, 1])
    close(copies.score[0, 2:], model.run(x, edit={name: lambda y: 2 * y}).outputs[:, 1])
    assert torch.equal(a, whole.values[name])
    assert tail.places(a)[0].shape == tuple(a.shape[1:])


def test_a_method_without_a_layer_explains_the_layer_that_is_asked_for() -> None:
    module, x = residual_net(), larger()
    e = sl.explain(module, x, method="integrated-gradients", layer="layer3", target=1, baseline=0, steps=20)
    model = TorchModel(module)
    image_, black = (model.run(given, at=["layer3", "layer4"]) for given in (x, 0 * x))
    assert e.attribution.shape == (2, 3, 3, 256)
    change = (image_.outputs - black.outputs)[:, 1].numpy()
    left = np.abs(e.attribution.sum((1, 2, 3)) - change) / np.abs(change)
    np.testing.assert_allclose(left, e.checks["residual"], atol=1e-5)
    assert (left < 0.02).all()
    linear = sl.explain(module, x, method="input-x-gradient", layer="layer4", target=1)
    by_hand = image_.values["layer4"] * module.fc.weight[1, :, None, None].detach() / 4
    np.testing.assert_allclose(linear.attribution, by_hand.movedim(1, -1), rtol=1e-5, atol=1e-9)
