"""The twin gives what a copy in evaluation mode gives, and what a pass writes stays on it."""

from __future__ import annotations

import copy
import functools
from collections import OrderedDict, defaultdict, deque, namedtuple
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from torch import nn

import sightline as sl
from nets import ON_CONVOLUTIONS, snapshot
from sightline.errors import ModelError
from sightline.frameworks.torch import TorchModel
from sightline.frameworks.torch.pool import MIXED
from sightline.method import METHODS
from sightline.model import Target
from torch_nets import Family, Gain, Wrapped, answer, assert_follows, fresh, image, made, step, through

FRAMEWORKS = ("torch",)


Pair = namedtuple("Pair", "first second")


class Registry(dict[str, Any]):
    """A dictionary of the user's own kind."""


NORMS: list[nn.BatchNorm1d] = []


def layers() -> tuple[nn.Module, nn.Module]:
    NORMS.append(nn.BatchNorm1d(5).double())
    NORMS[-1].running_mean.fill_(0.25)
    return nn.Dropout(0.5), NORMS[-1]


def with_default(parts: Any) -> Callable[..., Any]:
    def call(y: torch.Tensor, used: Any = parts) -> torch.Tensor:
        return through(used, y)

    return call


def with_keyword_default(parts: Any) -> Callable[..., Any]:
    def call(y: torch.Tensor, *, used: Any = parts) -> torch.Tensor:
        return through(used, y)

    return call


HIDDEN: dict[str, Callable[[], tuple[Any, Callable[..., Any]]]] = {
    "list": lambda: (list(layers()), through),
    "tuple": lambda: (layers(), through),
    "named tuple": lambda: (Pair(*layers()), through),
    "deque": lambda: (deque(layers()), through),
    "ordered dictionary": lambda: (OrderedDict(enumerate(layers())), lambda f, y: through(f.values(), y)),
    "default dictionary": lambda: (defaultdict(list, enumerate(layers())), lambda f, y: through(f.values(), y)),
    "dictionary of one's own": lambda: (Registry(zip("ab", layers())), lambda f, y: through(f.values(), y)),
    "object": lambda: (Gain(one=layers()[0], two=layers()[1]), lambda f, y: f.two(f.one(y))),
    "object with a list": lambda: (Gain(parts=list(layers())), lambda f, y: through(f.parts, y)),
    "namespace": lambda: (SimpleNamespace(parts=layers()), lambda f, y: through(f.parts, y)),
    "bound method": lambda: (layers()[1].forward, lambda f, y: f(y)),
    "partial": lambda: (functools.partial(through, layers()), lambda f, y: f(y)),
    "closure": lambda: ((lambda parts: lambda y: through(parts, y))(layers()), lambda f, y: f(y)),
    "default of a function": lambda: (with_default(layers()), lambda f, y: f(y)),
    "keyword default": lambda: (with_keyword_default(layers()), lambda f, y: f(y)),
}


@pytest.mark.parametrize("name", HIDDEN)
def test_layers_that_torch_does_not_know_of_run_as_twins(name: str) -> None:
    """Their running statistics are used and stay as they are, although they are in training mode."""
    field, use = HIDDEN[name]()
    module = made(lambda: Wrapped(field, use))
    inner, norm = fresh(module.net, image()), NORMS[-1]
    torch.testing.assert_close(answer(module), (inner - 0.25) / (1 + 1e-5) ** 0.5, rtol=1e-12, atol=1e-12)
    assert norm.training
    assert norm.num_batches_tracked == 0
    assert torch.equal(norm.running_mean, torch.full((5,), 0.25).double())


class Stateful(nn.Module):
    """Keeps what it saw, in every way that users do, and adds how often it was called."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.seen, self.facts, self.counter = nn.Linear(192, 5), [], {}, Gain()
        self.queue, self.memory, self.calls = deque(maxlen=4), torch.zeros(()).double(), 0
        self.register_buffer("count", torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.last = x
        self.seen.append(x)
        self.queue.append(x)
        self.facts["last"] = x
        self.counter.calls += 1
        self.calls += 1
        self.memory += 1
        self.count += 1
        times = len(self.seen) + len(self.queue) + self.counter.calls + self.calls + self.memory + self.count
        return self.fc(x.flatten(1)) + times


def test_state_that_a_pass_keeps_stays_on_the_twin() -> None:
    module = made(Stateful)
    expected = fresh(module, image())
    left = snapshot(module)
    torch.testing.assert_close(answer(module), expected, rtol=1e-12, atol=1e-12)
    assert snapshot(module) == left
    assert (len(module.seen), len(module.queue), module.facts, module.counter.calls) == (0, 0, {}, 0)
    assert (module.calls, module.memory.item(), module.count.item(), hasattr(module, "last")) == (0, 0, 0, False)


def test_a_hook_object_of_the_user_is_heard_but_not_written() -> None:
    module, hook = made(), Gain(gain=3.0, kept=[])
    module.fc.register_forward_hook(hook)
    plain = fresh(made(), image())
    torch.testing.assert_close(answer(module), 3 * plain, rtol=1e-12, atol=1e-12)
    assert hook.calls == 0


@pytest.mark.parametrize("weak", [False, True])
def test_parent_and_child(weak: bool) -> None:
    module = made(lambda: Family(weak))
    x = image()
    own = module.eval()(x).detach()
    torch.testing.assert_close(answer(module.train()), own, rtol=1e-12, atol=1e-12)
    with torch.no_grad():
        module.net.fc.weight.mul_(2)
    own = module.eval()(x).detach()
    torch.testing.assert_close(answer(module.train()), own, rtol=1e-12, atol=1e-12)


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.into, self.out = nn.Linear(192, 6), nn.Linear(192, 6)
        self.out.weight = self.into.weight
        self.alias = self.into.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.flatten(1)
        return self.into(x) + self.out(x).exp() + x @ self.alias.T


def test_tied_weights_are_one_weight() -> None:
    module = made(Tied)
    assert_follows(module, step)
    score = module(image())[:, 1].sum()
    (expected,) = torch.autograd.grad(score, [module.into.weight])
    for name in ("=into.weight", "=out.weight", "=alias"):
        trace = TorchModel(module).run(image(), at=[name], target=lambda y: y[:, 1])
        torch.testing.assert_close(trace.grads[name][0], expected, rtol=1e-12, atol=1e-12)
        edited = TorchModel(module).run(image(), edit={name: module.into.weight.detach() * 0})
        bias = (module.into.bias + module.out.bias.exp()).detach()
        torch.testing.assert_close(edited.outputs, bias.expand(2, 6), rtol=1e-12, atol=1e-12)


def transformer() -> nn.Module:
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.3, batch_first=True)
    return nn.Sequential(nn.Flatten(2), nn.TransformerEncoder(layer, 2), nn.Flatten(), nn.Linear(3 * 8, 5))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.fc = nn.LSTM(24, 4, 2, dropout=0.5, batch_first=True), nn.Linear(4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.rnn(x.transpose(1, 2).flatten(2))[0][:, -1])


def test_a_transformer_with_its_fast_path() -> None:
    x = image()[..., :1].expand(2, 3, 8, 1)
    module = made(transformer)
    expected = fresh(module, x)
    torch.testing.assert_close(answer(module, x), expected, rtol=1e-10, atol=1e-10)
    twice = TorchModel(module).run(x, edit={"1.layers.0.linear1": lambda y: 2 * y}).outputs
    with torch.no_grad():
        module[1].layers[0].linear1.weight.mul_(2)
        module[1].layers[0].linear1.bias.mul_(2)
    torch.testing.assert_close(twice, fresh(module, x), rtol=1e-10, atol=1e-10)


def test_a_recurrent_net_and_its_weights() -> None:
    module = made(Recurrent)
    assert_follows(module, lambda m: m.rnn.weight_hh_l1.data.mul_(2))
    module = module.eval()
    (expected,) = torch.autograd.grad(module(image())[:, 2].sum(), [module.rnn.weight_ih_l0])
    place = "=rnn.weight_ih_l0"
    trace = TorchModel(module).run(image(), at=[place], target=lambda y: y[:, 2])
    torch.testing.assert_close(trace.grads[place][0], expected, rtol=1e-12, atol=1e-12)


def test_shells_of_torch_are_seen_through() -> None:
    module = made()
    expected = fresh(module, image())
    for shell in (torch.compile(module), nn.DataParallel(module, device_ids=[]), nn.Sequential(module)):
        torch.testing.assert_close(answer(shell.train()), expected, rtol=1e-12, atol=1e-12)
    named, given = (sl.explain(torch.compile(module), image(), layer=layer) for layer in ("act", module.act))
    assert named.layer == given.layer == "act"
    assert np.array_equal(named.map, given.map)
    module.fc = torch.compile(module.fc)
    torch.testing.assert_close(answer(module), expected, rtol=1e-12, atol=1e-12)


def test_a_model_and_an_image_made_in_inference_mode() -> None:
    with torch.inference_mode():
        module, x = made(), image()
        assert all(p.is_inference() for p in module.parameters())
        trace = TorchModel(module).run(x, at=["", "act"], target=Target(_first, (torch.ones(2).double(),)))
        assert torch.is_inference_mode_enabled()
    plain = made().eval()
    leaf = image().requires_grad_()
    (expected,) = torch.autograd.grad(plain(leaf)[:, 0].sum(), [leaf])
    torch.testing.assert_close(trace.grads[""][0], expected, rtol=1e-12, atol=1e-12)
    assert_follows(made(), lambda m: None, differs=False)


def plain_net() -> nn.Module:
    """A net that every method explains."""
    torch.manual_seed(0)
    parts = [nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4))


@pytest.mark.parametrize("name", ON_CONVOLUTIONS)
@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_a_call_from_within_a_mode_without_gradients(name: str, mode: Callable[[], Any]) -> None:
    few = {key: value for key, value in {"steps": 3, "samples": 2}.items() if METHODS[name].takes(key, {})}
    expected = sl.explain(plain_net(), image(), method=name, **few)
    with mode():
        found = sl.explain(plain_net(), image(), method=name, **few)
    assert np.abs(expected.map).max() > 0
    assert np.array_equal(found.map, expected.map)


def _first(outputs: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    return outputs[:, 0] * weights


def test_a_graph_module() -> None:
    module = torch.fx.symbolic_trace(made().eval()).train()
    torch.testing.assert_close(answer(module), fresh(module, image()), rtol=1e-12, atol=1e-12)
    module.conv.weight.data.mul_(2)
    torch.testing.assert_close(answer(module), fresh(module, image()), rtol=1e-12, atol=1e-12)
    assert module.norm.training


SPREAD = {
    "resnet18": 64,
    "mobilenet_v2": 64,
    "vgg11": 64,
    "densenet121": 64,
    "googlenet": 64,
    "inception_v3": 96,
    "efficientnet_b0": 64,
    "convnext_tiny": 64,
    "vit_b_16": 224,
    "swin_t": 64,
    "squeezenet1_1": 64,
    "shufflenet_v2_x0_5": 64,
    "segmentation/fcn_resnet50": 64,
}


@pytest.mark.parametrize("name", SPREAD)
def test_torchvision_in_training_mode(name: str) -> None:
    """The answer is that of evaluation mode; the user's module, left in training mode, is as it was to the last bit."""
    torch.manual_seed(0)
    quick = {"init_weights": False} if name in ("googlenet", "inception_v3", "vgg11") else {}
    quick |= {"weights_backbone": None} if "/" in name else {}
    module = torchvision.models.get_model(name.rpartition("/")[2], weights=None, num_classes=10, **quick)
    for buffer in module.buffers():
        if buffer.is_floating_point():
            buffer.copy_(buffer + 0.1 * torch.rand_like(buffer))
    model = TorchModel(module.train(), output="out" if "/" in name else None)
    x = model.array(torch.randn(1, 3, SPREAD[name], SPREAD[name]))
    expected = fresh(module, x)
    expected = expected["out"] if "/" in name else expected
    left = snapshot(module)
    for _ in range(2):
        found = model.run(x).outputs
        slack = 1e-5 if module in MIXED else 1e-6  # in another layout it is rounded otherwise
        assert (found - expected).abs().max() <= slack * expected.abs().max()
    grads = model.run(x, at=[""], target=lambda y: y.flatten(1)[:, 0]).grads[""]
    assert snapshot(module) == left
    leaf = x.clone().requires_grad_()
    given = copy.deepcopy(module).eval()(leaf)
    given = given["out"] if "/" in name else given
    (gradient,) = torch.autograd.grad(given.flatten(1)[:, 0].sum(), [leaf])
    slack = 1e-3 if module in MIXED else 1e-5  # and some gate flips
    assert (grads[0] - gradient).abs().max() <= slack * gradient.abs().max()


def test_a_model_whose_weights_are_not_there_yet_is_refused() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.LazyLinear(2))
    with pytest.raises(ModelError, match="a lazy model without weights was given"):
        sl.explain(model, torch.rand(1, 3, 6, 6), method="gradient")
    model(torch.rand(1, 3, 6, 6))
    assert sl.explain(model, torch.rand(1, 3, 6, 6), method="gradient").map.shape == (1, 6, 6)
