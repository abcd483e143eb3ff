"""A kept twin is never stale: after any change, the next answer is that of a fresh copy in evaluation mode."""

from __future__ import annotations

import copy
import functools
import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations, prune

from sightline.frameworks.torch import TorchModel, pool
from sightline.stream import passing
from torch_nets import Family, Gain, Net, Wrapped, answer, assert_follows, fresh, image, made, step

FRAMEWORKS = ("torch",)


def load(m: Net, assign: bool) -> None:
    m.load_state_dict(made(seed=1).state_dict(), assign=assign)


def new_data(m: Net) -> None:
    m.conv.weight.data = torch.flip(m.conv.weight.data, (0,))


def new_buffer_data(m: Net) -> None:
    m.offset.data = torch.arange(5.0)  # of another shape and type


def doubled(m: nn.Module, args: Any, y: torch.Tensor) -> torch.Tensor:
    return 2 * y


def reorder(m: Net) -> None:
    m.parts["one"] = m.parts.pop("one")


@torch.no_grad()  # else the pruned weight has a history, which a deep copy refuses
def pruned(m: Net) -> None:
    prune.l1_unstructured(m.fc, "weight", 0.5)


def halve_and_back(m: Net) -> None:
    m.half().double()


CHANGES: dict[str, Callable[[Any], object]] = {
    "load_state_dict": lambda m: load(m, False),
    "load_state_dict assign": lambda m: load(m, True),
    "float": lambda m: m.float(),
    "half and back": halve_and_back,
    "p.data": new_data,
    "buffer.data": new_buffer_data,
    "in place": lambda m: m.conv.weight.data.mul_(2),
    "optimiser": step,
    "running statistics": lambda m: [m(image(i)) for i in range(3)],
    "new head": lambda m: setattr(m, "fc", nn.Linear(4, 5).double()),
    "new activation": lambda m: setattr(m, "act", nn.GELU()),
    "other order": reorder,
    "another part": lambda m: m.parts.add_module("three", nn.Sigmoid()),
    "number": lambda m: setattr(m, "scale", 3.0),
    "function": lambda m: setattr(m, "squash", torch.tanh),
    "Python function": lambda m: setattr(m, "slope", F.selu),
    "list in place": lambda m: m.gains.append(4.0),
    "dictionary in place": lambda m: m.options.update(power=2.0),
    "set in place": lambda m: m.skipped.add("more"),
    "child's number": lambda m: setattr(m.norm, "eps", 0.5),
    "hook": lambda m: m.act.register_forward_hook(doubled),
    "hook before": lambda m: m.fc.register_forward_pre_hook(lambda m, args: (args[0] + 1,)),
    "forward patched": lambda m: setattr(m.act, "forward", torch.sin),
    "weight norm, then trained": lambda m: (parametrizations.weight_norm(m.conv), step(m)),
    "spectral norm": lambda m: parametrizations.spectral_norm(m.fc),
    "pruning": lambda m: pruned(m),
}


def test_the_small_net_is_kept_between_passes() -> None:
    module = made()
    answer(module)
    (spare,) = pool._SPARES[module]
    answer(module)
    assert pool._SPARES[module] == [spare]


@pytest.mark.parametrize("change", CHANGES)
def test_a_kept_twin_is_never_stale(change: str) -> None:
    assert_follows(made(), CHANGES[change])


@pytest.mark.parametrize("change", [lambda m: m.requires_grad_(False), lambda m: m.eval(), lambda m: m.zero_grad()])
def test_what_does_not_change_the_answer_does_not(change: Callable[[Any], object]) -> None:
    assert_follows(made(), change, differs=False)


def test_one_change_after_the_other() -> None:
    module = made()
    for change in ("float", "half and back", "new head", "load_state_dict assign", "list in place", "pruning", "hook"):
        CHANGES[change](module)
        module.double()
        torch.testing.assert_close(answer(module), fresh(module, image()), rtol=1e-12, atol=1e-12)


def test_a_weight_with_a_history() -> None:
    module = made()
    prune.l1_unstructured(module.fc, "weight", 0.5)
    assert not module.fc.weight.is_leaf
    expected = module.eval()(image()).detach()
    torch.testing.assert_close(answer(module.train()), expected, rtol=1e-12, atol=1e-12)


def replaced(m: Any) -> None:
    m.field = m.field.clone()
    m.field.mul_(3)


FIELDS: dict[str, tuple[Callable[[], Any], Callable[..., Any], Callable[[Any], object]]] = {
    "object's attribute": (lambda: Gain(gain=2.0), lambda f, y: f.gain * y, lambda m: setattr(m.field, "gain", 3.0)),
    "object in an object": (
        lambda: Gain(inner=Gain(gain=2.0)),
        lambda f, y: f.inner.gain * y,
        lambda m: setattr(m.field.inner, "gain", 3.0),
    ),
    "tensor replaced, then in place": (lambda: torch.ones(5).double(), lambda f, y: f * y, replaced),
    "list of lists": (lambda: [[1.0]], lambda f, y: f[0][0] * y, lambda m: m.field[0].append(m.field[0].pop() + 1)),
    "order of a dictionary in a list": (
        lambda: [{"add": 1.0, "multiply": 2.0}],
        lambda f, y: y + 1 if next(iter(f[0])) == "add" else 2 * y,
        lambda m: m.field[0].update(add=m.field[0].pop("add")),
    ),
    "partial": (
        lambda: functools.partial(F.leaky_relu, negative_slope=0.1),
        lambda f, y: f(y),
        lambda m: setattr(m, "field", functools.partial(F.leaky_relu, negative_slope=0.2)),
    ),
}


@pytest.mark.parametrize("name", FIELDS)
def test_what_lies_deep_in_a_field_is_followed_too(name: str) -> None:
    field, use, change = FIELDS[name]
    assert_follows(made(lambda: Wrapped(field(), use)), change)


@pytest.mark.parametrize("name", set(FIELDS) - {"tensor replaced, then in place"})
def test_a_model_with_settings_deep_in_a_field_is_kept(name: str) -> None:
    field, use, _ = FIELDS[name]
    module = made(lambda: Wrapped(field(), use))
    answer(module)
    (spare,) = pool._SPARES[module]
    answer(module)
    assert pool._SPARES[module] == [spare]


class Written(nn.Module):
    """Counts its passes in a plain object, and adds the number."""

    def __init__(self) -> None:
        super().__init__()
        self.log = Gain(passes=0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.log.passes += 1
        return x.flatten(1) + self.log.passes


def test_a_plain_object_that_a_pass_writes_is_new_in_the_next_one() -> None:
    module, x = Written(), torch.zeros(1, 1, 2, 2)
    with TorchModel(module).held():
        found = [TorchModel(module).run(x).outputs for _ in range(3)]
    assert all(torch.equal(y, torch.ones(1, 4)) for y in found)
    assert module.log.passes == 0


def drop_first(m: Net) -> None:
    del m.parts["one"]


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.parts.add_module("three", nn.Sigmoid()),
        lambda m: setattr(m, "act", nn.Sequential(nn.ReLU())),
        lambda m: parametrizations.weight_norm(m.conv),  # a layer without parts has some now
        drop_first,
        reorder,
    ],
)
def test_the_layers_that_are_remembered_are_those_of_now(change: Callable[[Any], object]) -> None:
    def layers(module: Any) -> list[tuple[str, tuple[str, ...]]]:
        return [(layer.name, layer.parameters) for layer in TorchModel(module).places(image())]

    module = made()
    before = layers(module)
    assert layers(module) == before
    change(module)
    after = layers(module)
    assert after == layers(copy.deepcopy(module)) != before


class Linked(nn.Module):
    """Every child refers back to the root."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Net()
        for part in self.net.modules():
            object.__setattr__(part, "root", self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)


@pytest.mark.parametrize("kind", [Net, Linked, lambda: Family(False), lambda: Family(True)])
def test_the_model_is_collected_when_the_user_lets_go(kind: Callable[[], nn.Module]) -> None:
    module = made(kind)
    model = TorchModel(module)
    layers = model.places(image())
    model.run(image(), at=["", "net.conv" if hasattr(module, "net") else "conv"], target=lambda y: y[:, 0])
    answer(module)
    gone = [weakref.ref(module), *(weakref.ref(p) for p in module.parameters())]
    del module, model, layers
    gc.collect()
    assert [alive() for alive in gone] == [None] * len(gone)


def test_weights_that_the_user_drops_are_free_at_once() -> None:
    module = made()
    answer(module)
    old = module.conv.weight.data.untyped_storage()
    gone = weakref.ref(old)
    module.float()
    del old
    gc.collect()
    assert gone() is None


def test_what_is_held_is_looked_at_once_and_seen_to_change_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    module, looks = made(), list[nn.Module]()
    answer(module)
    mirrors = pool._mirrors
    monkeypatch.setattr(pool, "_mirrors", lambda spare, m: looks.append(m) or mirrors(spare, m))  # type: ignore[func-returns-value]
    with TorchModel(module).held(), TorchModel(module).held():
        before = answer(module)
        CHANGES["in place"](module)
        after = answer(module)
        torch.testing.assert_close(after, fresh(module, image()), rtol=1e-12, atol=1e-12)
    assert not torch.equal(before, after)
    assert looks == [module]
    CHANGES["new head"](module)
    torch.testing.assert_close(answer(module), fresh(module, image()), rtol=1e-12, atol=1e-12)


class Counting(nn.Module):
    """Adds the number of its passes, which it keeps in a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("passes", torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.passes += 1
        return x.flatten(1) + self.passes


def test_what_a_pass_writes_into_a_buffer_is_not_there_in_the_next_one_while_held() -> None:
    module, x = Counting(), torch.zeros(1, 1, 2, 2)
    with TorchModel(module).held():
        found = [TorchModel(module).run(x).outputs for _ in range(3)]
    assert all(torch.equal(y, torch.ones(1, 4)) for y in found)
    assert module.passes == 0


def test_what_was_held_is_free_afterwards_also_after_an_error() -> None:
    module = made()
    with pytest.raises(ZeroDivisionError), TorchModel(module).held():
        answer(module)
        raise ZeroDivisionError
    (spare,) = pool._SPARES[module]
    assert all(ours.numel() == 0 for _, ours in spare.weights)
    assert pool._HELD.get() is None


def test_on_the_cpu_a_pass_takes_as_many_images_as_give_no_value_over_64_mib() -> None:
    def many(conv: nn.Module, dtype: torch.dtype = torch.float32) -> int:
        return passing(TorchModel(nn.Sequential(conv).to(dtype)), torch.zeros(1, 3, 64, 64, dtype=dtype))

    wide, narrow = nn.Conv2d(3, 1024, 3, padding=1), nn.Conv2d(3, 8, 3)  # 16 MiB an image, and less
    assert (many(wide), many(narrow), many(wide, torch.float64)) == (4, 8, 2)
    assert many(nn.Sequential(wide, nn.Flatten(), nn.Linear(1024 * 64 * 64, 8))) == 8  # 128 MiB of weights to read
