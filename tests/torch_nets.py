"""A small net for the tests of the PyTorch adapter, and what it should answer."""

from __future__ import annotations

import copy
import functools
import weakref
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from nets import snapshot
from sightline.frameworks.torch import TorchModel


class Net(nn.Module):
    """A small net in which every kind of plain field matters to the answer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.act = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()
        self.drop, self.fc = nn.Dropout(0.5), nn.Linear(4, 5)
        self.parts = nn.ModuleDict({"one": nn.Tanh(), "two": nn.Softplus()})
        self.scale, self.squash, self.slope = 2.0, torch.sigmoid, F.elu
        self.register_buffer("offset", torch.zeros(1))
        self.gains, self.options, self.skipped = [1.0, 2.0], {"power": 1.0}, {"nothing"}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.act(self.norm(self.conv(x)))
        for part in self.parts.values():
            x = part(x)
        x = self.squash(x) * self.scale + sum(self.gains) * x ** self.options["power"] + len(self.skipped)
        return self.fc(self.drop(self.slope(x)).mean((2, 3))) + self.offset


def made(kind: Callable[[], nn.Module] = Net, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return kind().double().train()


def image(seed: int = 0, n: int = 2) -> torch.Tensor:
    return torch.randn(n, 3, 8, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def fresh(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return copy.deepcopy(module).eval()(x)


def answer(module: nn.Module, x: torch.Tensor | None = None) -> torch.Tensor:
    """The scores of two passes, the second of which may use a kept twin; a pass with a gradient lies between."""
    model, x = TorchModel(module), image() if x is None else x
    first = model.run(x).outputs
    model.run(x, at=[""], target=lambda outputs: outputs[:, 0])
    second = model.run(x).outputs
    torch.testing.assert_close(second, first, rtol=1e-12, atol=1e-12)
    return second


def assert_follows(module: nn.Module, change: Callable[[Any], object], *, differs: bool = True) -> None:
    """The answers before and after `change` are those of fresh copies, and the module is left alone."""
    x = image()
    before = answer(module)
    torch.testing.assert_close(before, fresh(module, x), rtol=1e-12, atol=1e-12)
    change(module)
    x = x.to(next(module.parameters()).dtype)
    now, left = fresh(module, x), snapshot(module)
    tolerance = 1e-12 if x.dtype == torch.float64 else 1e-5
    torch.testing.assert_close(answer(module, x), now, rtol=tolerance, atol=tolerance)
    assert snapshot(module) == left
    assert differs != torch.allclose(now.double(), before, rtol=1e-12, atol=1e-12)


class Wrapped(nn.Module):
    """A net with one more field, used by `use` in its forward pass."""

    def __init__(self, field: Any, use: Callable[[Any, torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.net, self.field, self.use = Net(), field, use

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.use(self.field, self.net(x))


class Gain:
    """A plain object of the user's."""

    def __init__(self, **fields: Any) -> None:
        self.calls = 0
        self.__dict__.update(fields)

    def __call__(self, m: nn.Module, args: Any, y: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return self.gain * y


def through(parts: Any, x: torch.Tensor) -> torch.Tensor:
    return functools.reduce(lambda y, part: part(y), parts, x)


class Family(nn.Module):
    """Parent and child know each other; the child through a weak reference if asked."""

    def __init__(self, weak: bool) -> None:
        super().__init__()
        self.net, self.child = Net(), nn.Identity()
        object.__setattr__(self.child, "parent", weakref.ref(self) if weak else self)
        parent = self.child.parent if weak else lambda: self
        self.child.forward = lambda y: y * parent().net.fc.weight.sum() + len(list(parent().children()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.child(self.net(x))


def step(m: Net) -> None:
    m(image(1)).square().sum().backward()
    torch.optim.SGD(m.parameters(), 0.1).step()


def close(found: torch.Tensor, expected: torch.Tensor, tolerance: float = 1e-12) -> None:
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


def second(y: torch.Tensor) -> torch.Tensor:
    return y[:, 1]


def gradient(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    leaf = x.clone().requires_grad_()
    return torch.autograd.grad(module(leaf)[:, 1].sum(), [leaf])[0]
