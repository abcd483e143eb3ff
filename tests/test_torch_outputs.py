"""What a PyTorch model may give and take: outputs, heads, other inputs, precisions, TorchScript."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import sightline as sl
from sightline.frameworks.torch import TorchModel, adapt
from torch_nets import Net, close, fresh, image, made, second

FRAMEWORKS = ("torch",)


class Several(nn.Module):
    """Two inputs, and outputs in the container asked for."""

    def __init__(self, give: Callable[[torch.Tensor, torch.Tensor], Any]) -> None:
        super().__init__()
        self.net, self.give = Net(), give

    def forward(self, x: torch.Tensor, mask: Any = 1.0, gain: Any = 1.0) -> Any:
        y = self.net(x * mask) * gain
        return self.give(y, y.square())


OUTPUTS: dict[str, tuple[Callable[..., Any], Any]] = {
    "tensor": (lambda y, z: y, None),
    "dictionary": (lambda y, z: {"square": z, "plain": y}, "plain"),
    "tuple": (lambda y, z: (z, y), 1),
    "from the end": (lambda y, z: [y, z, z], -3),
    "tuple of one": (lambda y, z: (y,), None),
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_the_output_that_is_named(name: str) -> None:
    give, output = OUTPUTS[name]
    module = made(lambda: Several(give))
    trace = TorchModel(module, output=output).run(image(), at=["net.fc"], target=second)
    close(trace.outputs, fresh(module.net, image()))
    close(trace.grads["net.fc"][0], torch.eye(5)[1].double().expand(2, 5))


@pytest.mark.parametrize(
    ("give", "output", "says"),
    [
        (lambda y, z: {"a": y, "b": z}, None, "dictionary with 'a', 'b'"),
        (lambda y, z: {"a": y, "b": z}, "c", "dictionary with 'a', 'b'"),
        (lambda y, z: (y, z), None, "tuple of 2"),
        (lambda y, z: (y, z), 2, "tuple of 2"),
        (lambda y, z: y, 0, "a tensor"),
        (lambda y, z: y, "a", "a tensor"),
        (lambda y, z: {"a": "text"}, "a", "str"),
    ],
)
def test_an_output_that_is_not_one_tensor_is_refused(give: Any, output: Any, says: str) -> None:
    with pytest.raises(sl.ModelError, match=says) as caught:
        TorchModel(made(lambda: Several(give)), output=output).run(image())
    assert str(caught.value).count("\n") == 1


def test_other_inputs_go_with_their_images() -> None:
    """One mask an image, a mask for all, a number; also in copies of the images, and where layers are looked for."""
    module = made(lambda: Several(lambda y, z: y))
    masks, x = torch.rand(2, 1, 8, 8, dtype=torch.float64), image()
    whole = fresh(module.net, x * masks) * 3
    for mask in (masks, masks.numpy(), masks[:1]):
        model = adapt(module, inputs={"mask": mask, "gain": 3.0})
        given = x * torch.as_tensor(mask)
        close(model.run(x).outputs, fresh(module.net, given) * 3)
    model = adapt(module, inputs={"mask": masks.float().numpy(), "gain": np.float32(3.0)})
    close(model.run(x.repeat(3, 1, 1, 1)).outputs, whole.repeat(3, 1), 1e-6)
    assert [layer.name for layer in model.places(x)][:3] == ["", "net.conv", "net.norm"]
    swapped = TorchModel(module, others={"x": x}, input="mask")
    trace = swapped.run(masks, at=["", ":net.fc"], target=second)
    leaf = masks.clone().requires_grad_()
    plain = copy.deepcopy(module.net).eval()
    (gradient,) = torch.autograd.grad(plain(x * leaf)[:, 1].sum(), [leaf])
    close(trace.grads[""][0], gradient)


def test_explaining_a_model_with_another_input_for_each_image() -> None:
    module, x = made(lambda: Several(lambda y, z: y)), image(n=3)
    masks = torch.rand(3, 1, 8, 8, dtype=torch.float64)
    together = sl.explain(module, x, method="grad-cam", layer="net.act", target=1, inputs={"mask": masks})
    for i in range(3):
        alone = sl.explain(
            module, x[i : i + 1], method="grad-cam", layer="net.act", target=1, inputs={"mask": masks[i : i + 1]}
        )
        np.testing.assert_allclose(together.map[i], alone.map[0], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_answers_within_its_own_precision(dtype: torch.dtype) -> None:
    half = made().to(dtype)
    whole = copy.deepcopy(half).double()
    x = image().to(dtype)
    found = TorchModel(half).run(x, at=[""], target=second)
    expected_ = TorchModel(whole).run(x.double(), at=[""], target=second)
    assert found.outputs.dtype == dtype
    eps = torch.finfo(dtype).eps
    for a, b in ((found.outputs, expected_.outputs), (found.grads[""], expected_.grads[""])):
        assert (a.double() - b).abs().max() <= 20 * eps * b.abs().max()
    maps = [sl.explain(m, x.double(), method="gradient", target=1).map for m in (half, whole)]
    assert np.abs(maps[0] - maps[1]).max() <= 20 * eps * np.abs(maps[1]).max()


class Quantised(nn.Module):
    def __init__(self, fc: nn.Module) -> None:
        super().__init__()
        self.fc = fc

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(x.flatten(1))


class Detached(Quantised):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(x.flatten(1).detach())


def dynamic() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.ao.quantization.quantize_dynamic(Quantised(nn.Linear(192, 5)).eval(), {nn.Linear})


@pytest.mark.parametrize("kind", [dynamic, lambda: Detached(nn.Linear(192, 5))])
@pytest.mark.filterwarnings("ignore:quantized")
def test_a_model_without_a_gradient_says_so(kind: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    module, x = kind(), image().float()
    with pytest.raises(sl.ModelError, match="no gradient") as caught:
        sl.explain(module, x, method="gradient", target=1)
    assert str(caught.value).count("\n") == 1
    occluded = sl.explain(module, x, method="occlusion", target=1, window=4, stride=4, baseline=0)
    hidden = x.clone()
    hidden[..., :4, :4] = 0
    fall = (module(x) - module(hidden))[:, 1].detach().numpy()
    np.testing.assert_allclose(occluded.map[:, 0, 0], fall, rtol=1e-4, atol=1e-5)


SCRIPTS: list[Callable[[nn.Module], Any]] = [
    lambda m: torch.jit.trace(m, image()),
    torch.jit.script,
]


class Plain(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5))


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_torchscript_has_a_gradient_but_no_rule(script: Callable[[nn.Module], Any]) -> None:
    module = made(Plain).eval()
    scripted = script(module)
    found, own = (TorchModel(m).run(image(), at=[""], target=second) for m in (scripted, module))
    close(found.grads[""], own.grads[""])
    close(found.outputs, own.outputs)
    assert all(p.grad is None for p in scripted.parameters())
    mixed = nn.Sequential(nn.ReLU(), scripted, nn.ReLU())
    close(TorchModel(mixed).run(image()).outputs, fresh(mixed, image()))
    for refused in (scripted, mixed):
        with pytest.raises(sl.ModelError, match="TorchScript") as caught:
            sl.explain(refused, image(), method="guided-backprop", target=1)
        assert str(caught.value).count("\n") == 1
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in scripted.modules())
    with pytest.raises(sl.LayerError, match="TorchScript"):
        TorchModel(mixed).run(image(), at=["1"])


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_torchscript_in_training_mode_is_refused() -> None:
    scripted = torch.jit.script(made(Plain)).train()
    with pytest.raises(sl.ModelError, match="training mode") as caught:
        sl.explain(scripted, image(), method="gradient", target=1)
    assert str(caught.value).count("\n") == 1
    assert scripted.training


class Head(nn.Module):
    def __init__(self, classes: int, end: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.net, self.fc, self.end = Net(), nn.Linear(5, classes), end

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.end(self.fc(self.net(x)))


HEADS: dict[str, tuple[int, Callable[..., Any], str]] = {
    "nn.Softmax": (4, nn.Softmax(dim=1), "softmax"),
    "F.softmax": (4, lambda z: F.softmax(z, dim=1), "softmax"),
    "method": (4, lambda z: z.softmax(1), "softmax"),
    "torch.softmax, by name": (4, lambda z: torch.softmax(input=z, dim=1), "softmax"),
    "log_softmax": (4, lambda z: F.log_softmax(z, 1), "softmax"),
    "nn.LogSoftmax": (4, nn.LogSoftmax(1), "softmax"),
    "torch.special.softmax": (4, lambda z: torch.special.softmax(z, 1), "softmax"),
    "torch.special.log_softmax": (4, lambda z: torch.special.log_softmax(z, 1), "softmax"),
    "softmax, in another precision": (4, lambda z: torch.softmax(z, 1).to(torch.float64, copy=True), "softmax"),
    "softmax, reshaped": (4, lambda z: torch.softmax(z[..., None], 1).flatten(1), "softmax"),
    "softmax of a row": (4, lambda z: z.view(-1, 1, 4).softmax(-1).squeeze(1), "softmax"),
    "torch.sigmoid": (1, torch.sigmoid, "sigmoid"),
    "nn.Sigmoid": (1, nn.Sigmoid(), "sigmoid"),
    "sigmoid_": (1, lambda z: z.sigmoid_(), "sigmoid"),
    "torch.sigmoid_": (3, torch.sigmoid_, "sigmoid"),
    "F.sigmoid": (3, F.sigmoid, "sigmoid"),
    "squeeze(1)": (1, lambda z: torch.sigmoid(z).squeeze(1), "sigmoid"),
    "squeeze()": (1, lambda z: torch.sigmoid(z).squeeze(), "sigmoid"),
    "one of many": (4, lambda z: torch.sigmoid(z)[:, 1:2], "sigmoid"),
    "none": (4, lambda z: z, ""),
    "in the middle": (4, lambda z: z * torch.softmax(z, 1), ""),
    "one class of a softmax": (4, lambda z: torch.softmax(z, 1)[:, 1:2], ""),
    "yes of each pair": (6, lambda z: z.view(-1, 3, 2).softmax(-1)[..., 1], ""),
    "pairs as one": (6, lambda z: z.view(-1, 3, 2).softmax(-1).flatten(1), ""),
    "one of each group": (4, lambda z: z.view(-1, 2, 2).softmax(1)[:, 1], ""),
    "sigmoid on a scale": (1, lambda z: 1 + 4 * torch.sigmoid(z), ""),
}


@pytest.mark.parametrize("name", HEADS)
def test_a_head_is_left_out(name: str) -> None:
    classes, end, head = HEADS[name]
    module = made(lambda: Head(classes, end))
    own = fresh(module, image())
    pieces = copy.deepcopy(module).eval()
    with torch.no_grad():
        z = pieces.fc(pieces.net(image()))
    z = z[:, 1:2] if name == "one of many" else z
    model = TorchModel(module)
    for places in ([], ["net.conv"], [""], []):
        trace = model.run(image(), at=places, target=lambda y: y.reshape(2, -1)[:, 0])
        close(trace.outputs, z if head else own)
        assert trace.head == head


@pytest.mark.parametrize("name", [name for name, (_, _, head) in HEADS.items() if head])
def test_the_probabilities_are_the_model_s_own(name: str) -> None:
    classes, end, head = HEADS[name]
    module = made(lambda: Head(classes, end))
    e = sl.explain(module, image(), method="gradient", top=9)
    own = fresh(module, image()).reshape(2, -1)
    own = own.exp() if "og" in name and "ftmax" in name else own
    own = torch.cat([1 - own, own], 1) if own.shape[1] == 1 else own
    assert e.head == head
    for i, ranks in enumerate(e.top):
        assert [r["index"] for r in ranks] == own[i].argsort(descending=True).tolist()
        np.testing.assert_allclose([r["probability"] for r in ranks], own[i].sort(descending=True).values, rtol=1e-6)


def test_probabilities_of_a_softmax_that_is_not_seen_are_not_taken_again() -> None:
    module = made(lambda: Head(4, lambda z: z.exp() / z.exp().sum(1, keepdim=True)))
    e = sl.explain(module, image(), method="gradient", top=4)
    own = fresh(module, image())
    assert e.head == ""
    for i, ranks in enumerate(e.top):
        found = {r["index"]: r["probability"] for r in ranks}
        np.testing.assert_allclose([found[c] for c in range(4)], own[i], rtol=1e-6)
    np.testing.assert_allclose(e.score, own.max(1).values, rtol=1e-6)  # what was explained, as the note says
    assert any("ends in probabilities" in note for note in e.notes)
    for end in (nn.Softmax(1), lambda z: z, lambda z: z.exp()):
        other = sl.explain(made(lambda end=end: Head(4, end)), image(), method="gradient")
        assert not other.notes
        np.testing.assert_allclose([sum(r["probability"] for r in ranks) for ranks in other.top], 1, rtol=1e-6)


def test_one_image_whose_score_was_squeezed_to_a_number() -> None:
    module = made(lambda: Head(1, lambda z: torch.sigmoid(z).squeeze()))
    assert fresh(module, image(n=1)).ndim == 0
    e = sl.explain(module, image(n=1), method="gradient", target=1)
    together = sl.explain(module, image(n=1).repeat(2, 1, 1, 1), method="gradient", target=1)
    np.testing.assert_allclose(e.score, together.score[:1], rtol=1e-12)
    np.testing.assert_allclose(e.map, together.map[:1], rtol=1e-6)


def test_one_image_whose_axis_was_squeezed_away_keeps_its_softmax() -> None:
    module = made(lambda: Head(4, lambda z: torch.softmax(z, 1).squeeze()))
    e = sl.explain(module, image(n=1), method="gradient", top=4)
    assert e.head == "softmax"
    np.testing.assert_allclose([r["probability"] for r in e.top[0]], fresh(module, image(n=1)).sort(descending=True)[0])


def test_one_image_whose_axis_was_squeezed_away_keeps_its_classes() -> None:
    module = made(lambda: Head(4, torch.squeeze))
    assert fresh(module, image(n=1)).shape == (4,)
    found, expected = (
        sl.explain(module, x, method="gradient", target=[2, 0]) for x in (image(n=1), image(n=1).repeat(2, 1, 1, 1))
    )
    for one, two in zip(found, expected):
        assert one.target == two.target[:1]
        np.testing.assert_allclose(one.score, two.score[:1], rtol=1e-12)
        np.testing.assert_allclose(one.map, two.map[:1], rtol=1e-6)


def test_outputs_that_are_not_one_row_an_image_are_refused() -> None:
    module = made(lambda: Head(4, lambda z: z.repeat(3, 1)))
    with pytest.raises(
        sl.ModelError, match=r"scores of shape \(6, 4\) for 2 images; expected one row.*\n.*squeeze\(1\)"
    ):
        sl.explain(module, image(), method="gradient", target=1)


def test_a_view_of_a_softmax_of_what_lies_otherwise_in_memory_is_left_to_the_model() -> None:
    module = made(lambda: Head(4, lambda z: z + z.view(2, 2, 2).transpose(1, 2).softmax(2).view(2, 4)))
    close(TorchModel(module).run(image()).outputs, fresh(module, image()))


def test_each_of_several_outputs_has_its_own_head() -> None:
    module = made(lambda: Several(lambda y, z: {"sure": y.softmax(1), "yes": z.sigmoid(), "plain": y}))
    y = fresh(module.net, image())
    for output, before, head in (("sure", y, "softmax"), ("yes", y.square(), "sigmoid"), ("plain", y, "")):
        trace = TorchModel(module, output=output).run(image())
        close(trace.outputs, before)
        assert trace.head == head


def test_a_pass_that_cuts_the_head_off_teaches_the_next_one_nothing() -> None:
    module = made(lambda: Head(4, nn.Softmax(1)))
    model, z = TorchModel(module), TorchModel(module).run(image()).outputs
    cut = model.run(image(), edit={"end": lambda p: p + 1})
    assert cut.head == ""
    close(cut.outputs, z.softmax(1) + 1)
    for places in (["end"], [":end"], []):
        model.run(image(), at=places, target=second)
        trace = model.run(image())
        assert trace.head == "softmax"
        close(trace.outputs, z)
