"""What hides its changes from a look, and what a pass writes where it should not, is followed all the same."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nets import snapshot
from sightline.frameworks.torch import TorchModel
from torch_nets import Gain, Net, Wrapped, assert_follows, image, made

FRAMEWORKS = ("torch",)


@dataclasses.dataclass
class Setting:
    """Equal to any other of its kind, as configurations of transformers are that differ in what was not declared."""

    gain: float = dataclasses.field(default=2.0, compare=False)


class Named:
    """An object whose own comparison fails for others."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __eq__(self, other: Any) -> bool:
        return bool(self.name == other.name)

    __hash__ = None  # type: ignore[assignment]


class Slotted(Gain):
    """An object that holds more than its fields tell."""

    __slots__ = ("hidden",)


class Three(Gain):
    """Another class of the same fields."""

    gain = 3.0


def of_itself() -> list[Any]:
    items: list[Any] = [2.0]
    items.append(items)
    return items


def slotted() -> Slotted:
    found = Slotted()
    found.hidden = 2.0
    return found


def put(value: Any) -> Callable[[Any], object]:
    return lambda m: setattr(m, "field", value)


HARD: dict[str, tuple[Callable[[], Any], Callable[..., Any], Callable[[Any], object]]] = {
    "equal object": (Setting, lambda f, y: f.gain * y, put(Setting(3.0))),
    "equal object in a list": (
        lambda: [Setting()],
        lambda f, y: f[0].gain * y,
        lambda m: m.field.__setitem__(0, Setting(3.0)),
    ),
    "object that cannot be compared": (lambda: Named("a"), lambda f, y: (2 if f is None else 1) * y, put(None)),
    "slot": (slotted, lambda f, y: f.hidden * y, lambda m: setattr(m.field, "hidden", 3.0)),
    "class of an object": (
        lambda: Gain(z=1),
        lambda f, y: getattr(f, "gain", 2.0) * y,
        lambda m: setattr(m.field, "__class__", Three),
    ),
    "a partial's own keywords": (
        lambda: functools.partial(F.leaky_relu, negative_slope=0.1),
        lambda f, y: f(y),
        lambda m: m.field.keywords.update(negative_slope=0.9),
    ),
    "list that holds itself": (of_itself, lambda f, y: f[0] * y, lambda m: m.field.__setitem__(0, 3.0)),
}


@pytest.mark.parametrize("name", HARD)
def test_what_hides_its_changes_is_followed_too(name: str) -> None:
    field, use, change = HARD[name]
    assert_follows(made(lambda: Wrapped(field(), use)), change)


class Adapting(nn.Module):
    """Writes the buffers of torch's own layers in its forward pass, each in another way."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.net, self.way, self.state = Net(), way, nn.Module()
        self.state.register_buffer("passes", torch.zeros(()))
        if way == "instance":
            self.net.norm = nn.InstanceNorm2d(4, track_running_stats=True)
            self.net.norm.track_running_stats = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        norm = self.net.norm
        if self.way == "training":
            norm.train()
        elif self.way == "in place":
            norm.running_mean.mul_(0.9).add_(0.1)
        elif self.way == "another":
            norm.running_mean = norm.running_mean * 0.9 + 0.1
        elif self.way == "part without a pass":
            self.state.passes += 1
        return self.net(x) + self.state.passes


@pytest.mark.parametrize("way", ["training", "in place", "another", "instance", "part without a pass"])
def test_what_a_pass_writes_into_the_buffers_of_a_part_is_not_there_in_the_next_one(way: str) -> None:
    module, x = made(lambda: Adapting(way)), image()
    left = snapshot(module)
    found = [TorchModel(module).run(x).outputs for _ in range(3)]
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])
    assert snapshot(module) == left


class Shallower(nn.Module):
    """A net that goes through as many of its parts as it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.parts, self.head = nn.ModuleList(nn.Conv2d(3, 3, 3, padding=1) for _ in range(2)), nn.Linear(3, 5)
        self.depth = 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for part in self.parts[: self.depth]:
            x = part(x)
        return self.head(x.mean((2, 3)))


def test_the_layers_are_those_of_a_pass_with_the_fields_of_now() -> None:
    model = TorchModel(made(Shallower))
    assert [layer.name for layer in model.places(image())][-2:] == ["parts.1", "head"]
    model.module.depth = 1
    assert [layer.name for layer in model.places(image())][-2:] == ["parts.0", "head"]


class Counting(nn.Module):
    """Notes in a list of its own what it has seen, so that no twin of it serves twice."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.seen = nn.Linear(3, 5), [0]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.append(len(x))
        PASSES.append(len(x))
        return self.head(x.mean((2, 3)))


PASSES: list[int] = []


def test_the_layers_of_a_model_that_writes_its_fields_are_met_once() -> None:
    model = TorchModel(made(Counting))
    model.run(image())
    names = [layer.name for layer in model.places(image())]
    PASSES.clear()
    for _ in range(3):
        model.run(image())
        assert [layer.name for layer in model.places(image())] == names
    assert PASSES == [2, 2, 2]
    assert model.module.seen == [0]


def test_a_hook_of_the_backward_pass_writes_nothing_of_the_users() -> None:
    module = made()
    module.conv.register_buffer("seen", torch.zeros((), dtype=torch.float64))
    module.conv.register_full_backward_hook(lambda m, given, coming: m.seen.add_(coming[0].abs().sum()) and None)
    TorchModel(module).run(image(), at=[""], target=lambda outputs: outputs[:, 0])
    assert module.conv.seen == 0
