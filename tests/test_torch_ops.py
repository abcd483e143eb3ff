"""What a backward rule may ask of an operation: its place, its values, itself once more with others."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sightline.frameworks.torch import TorchModel
from sightline.frameworks.torch.calls import in_place, pull_of
from sightline.frameworks.torch.ops import KINDS
from sightline.model import Back, Op
from sightline.rules import guided
from torch_nets import close, gradient, image, made, second

FRAMEWORKS = ("torch",)


class NoBias(nn.Module):
    """Convolutions, both poolings, a skip by addition and linear layers, all without biases."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.two = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.relu, self.peak, self.mean = nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.AvgPool2d(2)
        self.whole, self.mid, self.head = nn.AdaptiveAvgPool2d(1), nn.Linear(4, 6, False), nn.Linear(6, 5, False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.peak(self.relu(self.one(x)))
        x = self.mean(self.relu(self.two(x) + x))
        return self.head(F.relu(self.mid(self.whole(x).flatten(1))))


def epsilon_lrp(op: Op) -> Back | None:
    """LRP-ε (Bach et al. 2015, equation 58) from the operation itself."""
    if op.kind == "relu":
        return lambda y, relevance: (relevance,)
    if op.kind not in ("conv", "linear", "pool", "add"):
        return None
    z, pull = op.again(*op.args)

    def back(y: torch.Tensor, relevance: torch.Tensor) -> tuple[torch.Tensor, ...]:
        share = relevance / (z + 1e-13 * torch.where(z >= 0, 1.0, -1.0))
        return tuple(a * g for a, g in zip(op.args, pull(share)))

    return back


CALLS: dict[str, tuple[Callable[..., torch.Tensor], tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "plain": (F.conv2d, (2, 4, 7, 9), (6, 4, 3, 3), {}),
    "by place": (torch.conv2d, (2, 4, 7, 9), (6, 4, 3, 2), {}),
    "strides": (F.conv2d, (2, 4, 7, 9), (6, 4, 3, 3), {"stride": (2, 3), "padding": 1}),
    "dilated": (F.conv2d, (2, 4, 9, 9), (6, 4, 3, 3), {"dilation": 2, "padding": (2, 0)}),
    "groups": (F.conv2d, (2, 4, 7, 9), (8, 1, 3, 3), {"groups": 4, "padding": 1}),
    "same": (F.conv2d, (2, 4, 7, 9), (6, 4, 3, 3), {"padding": "same"}),
    "one image": (F.conv2d, (4, 7, 9), (6, 4, 3, 3), {}),
    "one axis": (F.conv1d, (2, 4, 9), (6, 4, 3), {"stride": 2}),
    "three axes": (F.conv3d, (2, 4, 5, 5, 5), (6, 4, 3, 3, 3), {"padding": 1}),
    "transposed": (F.conv_transpose2d, (2, 4, 5, 5), (4, 6, 3, 3), {"stride": 2}),
    "linear": (F.linear, (2, 3, 5), (7, 5), {}),
}


@pytest.mark.parametrize("name", CALLS)
def test_the_derivative_alone_is_that_of_the_call(name: str) -> None:
    """It has no pass forward: its figures are autograd's, also with other weights."""
    func, shape, kernel, options = CALLS[name]
    rng = torch.Generator().manual_seed(0)
    x, weight, other = (torch.randn(s, generator=rng, dtype=torch.float64) for s in (shape, kernel, kernel))
    args = (x, weight, None, *((1, 0) if name == "by place" else ()))
    pull = pull_of(func, KINDS[func], args, options)
    assert (pull is None) == (name in ("same", "one image", "transposed"))
    for weights, changed in ((weight, {}), (other, {"weight": other})) if pull else ():
        leaf, g = x.clone().requires_grad_(), torch.cos(func(*args, **options))
        wanted = torch.autograd.grad(func(leaf, weights, *args[2:], **options), leaf, g)[0]
        torch.testing.assert_close(pull(g, **changed)[0], wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_epsilon_lrp_written_over_the_seam_conserves_the_score(seed: int) -> None:
    """In a net without biases every layer's relevance sums to the score, and the map is input times gradient."""
    module, x = made(NoBias, seed), image(seed)
    relevance = lambda y: y[:, 1].square() / 2  # its gradient is the score itself  # noqa: E731
    places = ["", "one", "peak", "two", "mean", "mid"]
    trace = TorchModel(module).run(x, at=places, target=relevance, rule=epsilon_lrp)
    score = trace.outputs[:, 1]
    for place in ("", "one", "peak", "mean", "mid"):
        total = trace.grads[place][0].flatten(1).sum(1)
        torch.testing.assert_close(total, score, rtol=1e-10, atol=1e-10)
    skipped = trace.grads["two"][0].flatten(1).sum(1)
    assert ((skipped - score).abs() > 1e-3 * score.abs()).all()  # the rest goes through the skip
    torch.testing.assert_close(trace.grads[""][0], x * gradient(module.eval(), x), rtol=1e-8, atol=1e-10)


def nested() -> nn.Module:
    block = lambda i, o: nn.Sequential(nn.Conv2d(i, o, 3), nn.ReLU(True))  # noqa: E731
    parts = {"layer1": block(3, 4), "layer2": block(4, 4), "flat": nn.Flatten(), "head": nn.Linear(64, 5)}
    return nn.Sequential(OrderedDict(parts))


def test_a_rule_by_place() -> None:
    module, met = made(nested), []

    def double_in_layer2(op: Op) -> Back | None:
        met.append((op.kind, op.place))
        if op.kind != "relu" or not op.place.startswith("layer2"):
            return None
        return lambda y, g: (2 * g * (y > 0),)

    trace = TorchModel(module).run(image(), at=[""], target=second, rule=double_in_layer2)
    kinds = [("conv", "layer1.0"), ("relu", "layer1.1"), ("conv", "layer2.0"), ("relu", "layer2.1"), ("linear", "head")]
    assert met == [*kinds, ("output", "")]
    close(trace.grads[""][0], 2 * gradient(module.eval(), image()))


class Two(nn.Module):
    """An operation of two values."""

    def __init__(self, call: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self.p, self.q, self.call = nn.Linear(192, 4), nn.Linear(192, 4), call

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.call(self.p(x.flatten(1)), self.q(x.flatten(1)))


def plus(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    a += b
    return a


def times(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    a *= b
    return a


PAIRS: dict[str, tuple[str, Callable[..., torch.Tensor]]] = {
    "a + b": ("add", lambda a, b: a + b),
    "torch.add by name": ("add", lambda a, b: torch.add(a, other=b)),
    "add with alpha": ("add", lambda a, b: torch.add(a, b, alpha=3)),
    "a += b": ("add", plus),
    "a * b": ("mul", lambda a, b: a * b),
    "a *= b": ("mul", times),
    "broadcast": ("mul", lambda a, b: a * b[:, :1]),
    "a @ b": ("matmul", lambda a, b: a @ b.T),
    "matmul by name": ("matmul", lambda a, b: torch.matmul(input=a, other=b.T)),
    "bmm": ("matmul", lambda a, b: torch.bmm(a[:, :, None], mat2=b[:, None])[:, 0]),
    "cat": ("concat", lambda a, b: torch.cat([a, b], 1)),
    "cat by name": ("concat", lambda a, b: torch.cat(tensors=(a, b), dim=1)),
}


@pytest.mark.parametrize("name", PAIRS)
def test_a_rule_gives_each_of_two_values_its_gradient(name: str) -> None:
    kind, call = PAIRS[name]
    module = made(lambda: Two(call))
    seen: list[tuple[torch.Tensor, ...]] = []

    def two_and_three(op: Op) -> Back | None:
        if op.kind != kind:
            return None
        _, pull = op.again(*op.args)
        seen.append(op.args)
        return lambda y, g: tuple(times * own for times, own in zip((2, 3), pull(g)))

    trace = TorchModel(module).run(image(), at=["p", "q"], target=second, rule=two_and_three)
    a, b = (trace.values[place].clone().requires_grad_() for place in "pq")
    grads = torch.autograd.grad(call(a.clone(), b.clone())[:, 1].sum(), [a, b], materialize_grads=True)
    close(trace.grads["p"][0], 2 * grads[0])
    close(trace.grads["q"][0], 3 * grads[1])
    ((first, _),) = seen
    close(first.reshape(2, 4), a.detach())  # what was given, also where the operation has overwritten it


def test_attention_has_three_values() -> None:
    module = made(
        lambda: Two(lambda a, b: F.scaled_dot_product_attention(a[None], key=b[None], value=(a * b)[None])[0])
    )

    def each(op: Op) -> Back | None:
        if op.kind != "attention":
            return None
        _, pull = op.again(*op.args)
        return lambda y, g: tuple(times * own for times, own in zip((2, 3, 5), pull(g)))

    trace = TorchModel(module).run(image(), at=["p", "q"], target=second, rule=each)
    a, b = (trace.values[place].clone().requires_grad_() for place in "pq")
    parts = [a[None], b[None], (a * b)[None]]
    grads = torch.autograd.grad(F.scaled_dot_product_attention(*parts)[0][:, 1].sum(), parts, retain_graph=True)
    into = [times * g for times, g in zip((2, 3, 5), grads)]
    expected = torch.autograd.grad(parts, [a, b], into)
    close(trace.grads["p"][0], expected[0])
    close(trace.grads["q"][0], expected[1])


WEIGHTED: dict[str, tuple[str, Callable[[], nn.Module], Callable[..., torch.Tensor]]] = {
    "conv": ("conv", lambda: nn.Conv2d(3, 5, 3), F.conv2d),
    "conv without bias": ("conv", lambda: nn.Conv2d(3, 5, 3, bias=False), F.conv2d),
    "transposed": ("conv", lambda: nn.ConvTranspose2d(3, 5, 3), F.conv_transpose2d),
    "linear": ("linear", lambda: nn.Linear(8, 5), F.linear),
    "batch norm": ("norm", lambda: nn.BatchNorm2d(3), lambda x, w, b: F.batch_norm(x, MEAN, VARIANCE, w, b)),
    "layer norm": ("norm", lambda: nn.LayerNorm(8), lambda x, w, b: F.layer_norm(x, (8,), w, b)),
}
MEAN, VARIANCE = torch.zeros(3).double(), torch.ones(3).double()


@pytest.mark.parametrize("name", WEIGHTED)
def test_the_operation_once_more_with_other_values_and_weights(name: str) -> None:
    """The z⁺ rule's ingredient: only what is positive in the weights, and no bias."""
    kind, layer, call = WEIGHTED[name]
    module = made(lambda: nn.Sequential(layer(), nn.Flatten(), nn.ReLU())).eval()
    with torch.no_grad():
        [p.normal_() for p in module.parameters()]
    found: list[Any] = []

    def positive(op: Op) -> Back | None:
        if op.kind == kind:
            weight, own = op.params["weight"], op.again(*op.args)
            found.append((op.params, own, op.again(op.args[0].abs(), weight=weight.clamp(min=0), bias=None)))
        return guided(op)

    x = image()
    TorchModel(module).run(x, at=[""], target=second, rule=positive)
    ((params, (y, pull), (z, pull_positive)),) = found
    assert torch.equal(params["weight"], module[0].weight)
    close(y, module[0](x).detach())
    leaf, ones = x.abs().requires_grad_(), torch.ones_like(y)
    by_hand = call(leaf, module[0].weight.clamp(min=0), None)
    close(z, by_hand.detach())
    close(pull_positive(ones)[0], torch.autograd.grad(by_hand.sum(), [leaf])[0])
    close(pull(ones)[0], torch.autograd.grad(module[0](leaf_ := x.clone().requires_grad_()).sum(), [leaf_])[0])


@pytest.mark.parametrize(
    ("func", "args", "kwargs", "expected"),
    [
        (F.relu, (True,), {}, True),
        (F.relu, (False,), {}, False),
        (F.relu, (), {"inplace": True}, True),
        (F.hardtanh, (0.0, 6.0, True), {}, True),
        (F.leaky_relu, (0.1, True), {}, True),
        (torch.relu_, (), {}, True),
        (torch.Tensor.__iadd__, (1,), {}, True),
        (F.avg_pool2d, (2, 2, 0, True, True), {}, False),  # ceil_mode, count_include_pad
        (torch.mean, (1, True), {}, False),  # keepdim
    ],
)
def test_what_overwrites_its_input(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], expected: bool) -> None:
    assert in_place(func, (torch.ones(1, 1, 4, 4), *args), kwargs) == expected
