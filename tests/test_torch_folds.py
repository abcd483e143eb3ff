"""Batch norms folded into convolutions: the same values, in less time; and not folded where anyone would see it."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn.modules.module import register_module_forward_hook
from torch.utils.checkpoint import checkpoint

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


def made(kind: Callable[[], nn.Module] = Chains) -> nn.Module:
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


@contextmanager
def times_run(operation: str = "aten::batch_norm") -> Iterator[list[int]]:
    """Filled with how often torch ran an operation within it."""
    found: list[int] = []
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        yield found
    found.append(sum(event.count for event in profile.key_averages() if event.key == operation))


def assert_exact(model: nn.Module, trace: Any, x: torch.Tensor) -> None:
    scores, gradient = exact(model, x)
    torch.testing.assert_close(trace.outputs.double(), scores, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(trace.grads[""][0].double(), gradient, rtol=1e-4, atol=1e-6)


def test_a_pass_runs_no_batch_norm_that_follows_its_convolution_in_a_chain() -> None:
    model = made()
    with times_run() as norms:
        trace = TorchModel(model).run(image(), at=[""], target=first)
    assert norms == [1]  # that which follows a chain, not a convolution
    assert_exact(model, trace, image())


def test_the_answer_tells_it() -> None:
    e = sl.explain(made(), image(1), method="gradient")
    assert e.facts()["layout"] == "channels_last, batch norms folded where nothing asks for them"
    e = sl.explain(made(), image(1), method="gradient", precision="bfloat16")
    assert e.facts()["layout"] == "channels_last"
    e = sl.explain(made().double(), image(1).double(), method="gradient")
    assert e.facts()["layout"] == "contiguous"


def test_whoever_walks_through_a_chain_himself_gets_what_it_holds() -> None:
    model = made(Reading)
    with times_run() as norms:
        trace = TorchModel(model).run(image(), at=[""], target=first)
    assert norms == [3]  # the last chain alone is run as one
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


def test_a_rule_for_batch_norms_meets_them_all_and_one_for_relus_lets_them_be() -> None:
    model, places = made(), []

    def rule(op: Any) -> Any:
        places.append((op.kind, op.place))
        return (lambda y, grad: (grad,)) if op.kind == "norm" else Outgoing(lambda grad: grad)

    with times_run() as norms:
        TorchModel(model).run(image(), at=[""], target=first, rule=only("norm", "relu")(rule))
    assert [kind for kind, _ in places].count("norm") == 4 and norms == [4]
    with times_run() as norms:
        trace = TorchModel(model).run(image(), at=[""], target=first, rule=only("relu")(rule))
    assert norms == [1]
    assert_exact(model, trace, image())


def changes() -> dict[str, Any]:
    def step(model: Any) -> None:
        with torch.no_grad():
            model.features[0][0].weight.mul_(1.5)

    def data(model: Any) -> None:
        model.features[1][1].bias.data.add_(0.5)
        model.features[0][0].weight.data.mul_(0.8)

    def fused(model: Any) -> None:
        model(image())[:, 0].sum().backward()
        torch.optim.SGD(model.parameters(), lr=0.1, fused=True).step()

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

    return {f.__name__: f for f in (step, data, fused, assigned, statistics, replaced, epsilon, loaded)}


@pytest.mark.parametrize("change", list(changes()))
def test_a_change_of_the_weights_is_seen_by_the_next_pass(change: str) -> None:
    model, x = made(), image()
    TorchModel(model).run(x)
    changes()[change](model)
    torch.testing.assert_close(TorchModel(model).run(x).outputs, model(x).detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("change", ["step", "data", "fused", "statistics"])
def test_a_change_between_the_passes_of_a_call_is_seen(change: str) -> None:
    model, x = made(), image()
    adapted = TorchModel(model)
    with adapted.held():
        before = adapted.run(x).outputs
        changes()[change](model)
        after = adapted.run(x).outputs
    assert not torch.allclose(before, after, rtol=1e-3)
    torch.testing.assert_close(after, model(x).detach(), rtol=1e-5, atol=1e-6)


def test_a_model_that_becomes_half_or_double_is_not_folded_any_more() -> None:
    model, x = made(), image()
    TorchModel(model).run(x)
    model.double()
    with times_run() as norms:
        found = TorchModel(model).run(x.double()).outputs
    assert norms == [4]
    torch.testing.assert_close(found, model(x.double()).detach(), rtol=1e-12, atol=1e-12)


def test_one_convolution_in_two_chains_has_the_batch_norm_of_each() -> None:
    conv = nn.Conv2d(3, 3, 3, padding=1)
    model = nn.Sequential(
        nn.Sequential(conv, nn.BatchNorm2d(3)), nn.Sequential(conv, nn.BatchNorm2d(3, eps=2.0))
    ).eval()
    x = image()
    torch.testing.assert_close(TorchModel(model).run(x).outputs, model(x).detach().contiguous(), rtol=1e-5, atol=1e-6)


def test_a_few_chains_among_other_batch_norms_are_left_as_they_are() -> None:
    class Norms(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.chain = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))
            self.norm = nn.BatchNorm2d(3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.norm(self.chain(x)).mean((2, 3))

    with times_run() as norms:
        TorchModel(Norms().eval()).run(image())
    assert norms == [2]


def test_a_convolution_with_more_weights_a_channel_than_cells_is_left_as_it_is() -> None:
    few, many = (nn.Sequential(nn.Conv2d(3, 3, side, padding="same"), nn.BatchNorm2d(3)) for side in (5, 7))
    model = nn.Sequential(few, many).eval()  # 75 and 147 weights; the image has 81 cells
    with times_run() as norms:
        found = TorchModel(model).run(image()).outputs
    assert norms == [1]
    torch.testing.assert_close(found, model(image()).detach().contiguous(), rtol=1e-5, atol=1e-6)


class Doing(Chains):
    """One that does something to its own parts on the way."""

    def __init__(self, do: Callable[[Any, torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.do = do

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.do(self.features, x).mean((2, 3))


def by_other_weights(features: Any, x: torch.Tensor) -> torch.Tensor:
    doubled = {name: weight * (1 + x.mean()) for name, weight in features.named_parameters()}
    return functional_call(features, doubled, (x,))


def by_the_batchs_statistics(features: Any, x: torch.Tensor) -> torch.Tensor:
    features[0][1].train()
    y = features(x)
    features[0][1].eval()
    return y


def by_statistics_of_its_own(features: Any, x: torch.Tensor) -> torch.Tensor:
    features[0][1].running_mean = torch.full_like(features[0][1].running_mean, 0.3)
    features[1][1].running_var.data.fill_(0.7)
    features[3][1].eps = 0.9
    return features(x)


def by_weights_of_its_own(features: Any, x: torch.Tensor) -> torch.Tensor:
    features[0][0].weight.data = torch.full_like(features[0][0].weight, 0.2)
    return features(x)


def with_a_hook(features: Any, x: torch.Tensor) -> torch.Tensor:
    handle = features[0][1].register_forward_hook(lambda m, given, y: y * 3)
    other = features[1][0].register_forward_hook(lambda m, given, y: y.square())
    y = features(x)
    handle.remove()
    other.remove()
    return y


def with_another_part(features: Any, x: torch.Tensor) -> torch.Tensor:
    features[0][1] = nn.Identity()
    return features(x)


def as_a_copy(features: Any, x: torch.Tensor) -> torch.Tensor:
    other = copy.deepcopy(features)
    other[0][0].weight.data.mul_(1.5)
    return other(x)


def in_pieces(features: Any, x: torch.Tensor) -> torch.Tensor:
    for part in features:
        x = checkpoint(part, x, use_reentrant=False)
    return x


def by_another_convolution(features: Any, x: torch.Tensor) -> torch.Tensor:
    features[0][0]._conv_forward = lambda x, w, b: nn.functional.conv2d(x, w.tanh(), b, padding=1)
    return features(x)


def with_a_bias_of_its_own(features: Any, x: torch.Tensor) -> torch.Tensor:
    conv = features[3][0]
    if "bias" in conv._parameters:
        del conv.bias
        conv.register_buffer("bias", torch.full_like(conv.weight[:, 0, 0, 0], 2.0))
    return features(x)


def with_a_hidden_weight(features: Any, x: torch.Tensor) -> torch.Tensor:
    own = features[0][1].__dict__
    own["running_mean"] = features[0][1]._buffers["running_mean"] * 5
    y = features(x)
    del own["running_mean"]
    return y


def by_another_forward(features: Any, x: torch.Tensor) -> torch.Tensor:
    before = features[0].forward
    features[0].forward = lambda z: before(z) * 2
    y = features(x)
    del features[0].forward
    return y


def by_a_forward_that_stays(features: Any, x: torch.Tensor) -> torch.Tensor:
    features[3].forward = lambda z: z * 2
    return features(x)


def through_a_file(features: Any, x: torch.Tensor) -> torch.Tensor:
    with io.BytesIO() as file:
        torch.save(features, file)
        file.seek(0)
        return torch.load(file, weights_only=False)(x)


def compiled_on_the_way(features: Any, x: torch.Tensor) -> torch.Tensor:
    return torch.jit.script(features)(x)


def compiled_whole(features: Any, x: torch.Tensor) -> torch.Tensor:
    return torch.compile(lambda z: features(z), backend="eager", fullgraph=True)(x)


DOINGS = (by_other_weights, by_the_batchs_statistics, by_statistics_of_its_own, by_weights_of_its_own, with_a_hook)
DOINGS += (with_another_part, as_a_copy, in_pieces, by_another_convolution)
DOINGS += (with_a_bias_of_its_own, with_a_hidden_weight, by_another_forward, by_a_forward_that_stays, through_a_file)
DOINGS += (compiled_on_the_way, compiled_whole)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is")
@pytest.mark.parametrize("do", DOINGS)
def test_what_a_pass_does_to_its_own_parts_counts(do: Callable[[Any, torch.Tensor], torch.Tensor]) -> None:
    model, double = made(lambda: Doing(do)), made(lambda: Doing(do)).double()
    x = image().double().requires_grad_()
    scores = double(x)
    expected = torch.autograd.grad(scores[:, 0].sum(), x)[0]
    for _ in range(2):
        trace = TorchModel(model).run(image(), at=[""], target=first)
        torch.testing.assert_close(trace.outputs.double(), scores.detach(), rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(trace.grads[""][0].double(), expected, rtol=1e-3, atol=1e-6)


def test_a_hook_on_every_module_is_heard() -> None:
    model = made()
    handle = register_module_forward_hook(lambda m, given, y: y * 2 if isinstance(m, nn.BatchNorm2d) else None)
    try:
        found, expected = TorchModel(model).run(image()).outputs, model(image()).detach()
    finally:
        handle.remove()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_inside_autocast_the_two_are_what_they_are_for_the_user() -> None:
    def cast(features: Any, x: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return features(x).float()

    model = made(lambda: Doing(cast))
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.mul_(30)
    found = TorchModel(model).run(image()).outputs
    torch.testing.assert_close(found, model(image()).detach(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("method", ["grad-cam", "gradient", "full-grad", "score-cam", "deep-lift"])
def test_a_call_from_inference_mode(method: str) -> None:
    expected = sl.explain(made(), image(1), method=method, target=0).attribution
    with torch.inference_mode():
        found = sl.explain(made(), image(1), method=method, target=0).attribution
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


def test_another_default_type_changes_nothing() -> None:
    model, x = made(), image()
    expected = TorchModel(model).run(x).outputs
    torch.set_default_dtype(torch.float64)
    try:
        found = TorchModel(model).run(x).outputs
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(found, expected)


def test_a_tail_of_one_long_chain_runs_what_comes_after() -> None:
    torch.manual_seed(0)
    parts = [part for _ in range(4) for part in (nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU())]
    adapted = TorchModel(nn.Sequential(*parts, nn.Flatten()).eval())
    memory = adapted.remember(image(1), "8")
    assert memory is not None
    a = memory.trace.values["8"]
    with times_run("aten::conv2d") as convolutions:
        found = adapted.run(image(1), edit={"8": torch.cat([a, a])}, memory=memory).outputs
    assert convolutions == [1]
    torch.testing.assert_close(found, torch.cat([adapted.run(image(1)).outputs] * 2), rtol=1e-5, atol=1e-6)


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
