"""Passes in bfloat16: used inside, float32 outside, and nothing left behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import sightline as sl
from sightline.frameworks.torch import TorchModel
from sightline.model import Target
from sightline.tail import Tail

FRAMEWORKS = ("torch",)
METHODS = (
    *("gradient", "smoothgrad", "integrated-gradients", "grad-cam", "guided-backprop", "occlusion", "ablation-cam"),
    *("score-cam", "lrp-z-plus", "lrp-epsilon", "deep-lift", "excitation-backprop", "full-grad", "cam"),
)
FEW: dict[str, Any] = {"steps": 6, "samples": 4, "window": 8, "stride": 8}


class Block(nn.Module):
    """Two convolutions with normalisations and a skip; notes what the first convolution gives, if it is asked to."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.one, self.two = (nn.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in range(2))
        self.norm, self.last = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.one(x)
        SEEN.append((y.dtype, torch.is_autocast_enabled("cpu")))
        return F.relu(self.last(self.two(F.relu(self.norm(y)))) + x)


SEEN: list[tuple[torch.dtype, bool]] = []


@pytest.fixture(autouse=True)
def _nothing_seen_yet() -> Iterator[None]:
    SEEN.clear()
    yield
    assert not torch.is_autocast_enabled("cpu")


def net() -> nn.Module:
    torch.manual_seed(0)
    stem = (nn.Conv2d(3, 16, 5, stride=2, padding=2), nn.ReLU(inplace=True), nn.MaxPool2d(2))
    return nn.Sequential(*stem, Block(16), Block(16), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 7)).eval()


def images(count: int = 2) -> torch.Tensor:
    draws = torch.Generator().manual_seed(1)  # of its own: threads call this
    coarse, fine = (torch.randn(count, 3, side, side, generator=draws) for side in (8, 32))
    return F.interpolate(coarse, 32, mode="bilinear") + 0.1 * fine


def explained(model: Any, methods: Any = METHODS, **options: Any) -> list[sl.Explanation]:
    few = FEW if methods is METHODS else {}
    found = sl.explain(model, images(), method=list(methods), target=3, **few, **options)
    assert isinstance(found, list)
    return found


def test_maps_in_bfloat16_are_nearly_those_in_float32() -> None:
    model = net()
    rough = explained(model, precision="bfloat16")
    kinds = set(SEEN)
    assert {(torch.bfloat16, True)} == kinds - {(torch.float32, False)}  # the latter where the layers are listed
    for low, exact in zip(rough, explained(model), strict=True):
        assert (low.map.dtype, low.attribution.dtype, low.score.dtype) == (np.float32,) * 3
        assert np.corrcoef(low.map.ravel(), exact.map.ravel())[0, 1] > 0.98, low.method
        assert not np.array_equal(low.map, exact.map), low.method
        assert np.abs(low.score - exact.score).max() > 0
        np.testing.assert_allclose(low.score, exact.score, rtol=0, atol=0.02 * np.abs(exact.score).max())
        assert (low.facts()["precision"], exact.facts()["precision"]) == ("bfloat16", "float32")


def test_what_is_recorded_and_edited_is_float32_and_the_pass_goes_on_as_it_was() -> None:
    model = TorchModel(net()).in_precision("bfloat16")
    x, target = model.array(images()), Target(lambda outputs: outputs[None, :, 2])
    plain = model.run(x, target=target)
    trace = model.run(x, at=["", "3.one", "4"], target=target)
    for a in (trace.outputs, trace.score, *trace.values.values(), *trace.grads.values()):
        assert a.dtype == torch.float32
    assert torch.equal(trace.outputs, plain.outputs)
    assert torch.equal(trace.values["3.one"], trace.values["3.one"].bfloat16().float())  # it was in bfloat16
    seen: list[torch.dtype] = []

    def same(value: torch.Tensor) -> torch.Tensor:
        seen.append(value.dtype)
        return value

    assert torch.equal(model.run(x, edit={"3.one": same}).outputs, plain.outputs)
    assert torch.equal(model.run(x, edit={"3.one": trace.values["3.one"]}).outputs, plain.outputs)
    assert seen == [torch.float32]


def test_a_tail_is_remembered_in_the_same_precision() -> None:
    model = TorchModel(net()).in_precision("bfloat16")
    x = model.array(images())
    layer = next(layer for layer in model.places(x) if layer.name == "3")
    tail, value = Tail(model, layer, x), model.run(x, at=["3"]).values["3"]
    assert tail.memory is not None
    values = torch.cat([value, 2 * value])
    whole = model.run(x.repeat(2, 1, 1, 1), edit={"3": values})
    assert torch.equal(tail.run(values).outputs, whole.outputs)


def test_the_caller_s_own_autocast_is_left_as_it_was_and_does_not_reach_in() -> None:
    model = net()
    (expected,) = explained(model, ["gradient"])
    with torch.autocast("cpu", dtype=torch.float16):
        (found,) = explained(model, ["gradient"])
        assert torch.get_autocast_dtype("cpu") == torch.float16
        (low,) = explained(model, ["gradient"], precision="bfloat16")
        assert torch.get_autocast_dtype("cpu") == torch.float16
        assert torch.is_autocast_enabled("cpu")
    np.testing.assert_array_equal(found.map, expected.map)
    np.testing.assert_array_equal(low.map, explained(model, ["gradient"], precision="bfloat16")[0].map)


def test_nothing_is_left_behind_by_an_error() -> None:
    def broken(scores: torch.Tensor) -> torch.Tensor:
        raise ValueError("no")

    model = net()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(sl.TargetError):
        sl.explain(model, images(), target=broken, precision="bfloat16")
    model[4].register_forward_hook(lambda *_: 1 / 0)
    with pytest.raises(sl.ModelError, match="division by zero"):
        sl.explain(model, images(), precision="bfloat16")
    assert not torch.is_autocast_enabled("cpu")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert next(model.parameters()).dtype == torch.float32


def test_other_threads_are_not_in_it() -> None:
    model = net()
    expected = {p: explained(model, ["guided-backprop"], precision=p)[0].map for p in ("float32", "bfloat16")}
    assert not np.array_equal(*expected.values())
    wrong: list[str] = []

    def work(precision: str) -> None:
        for _ in range(10):
            found = explained(model, ["guided-backprop"], precision=precision)[0]
            if not np.array_equal(found.map, expected[precision]) or torch.is_autocast_enabled("cpu"):
                wrong.append(precision)

    threads = [threading.Thread(target=work, args=(p,)) for p in ("float32", "bfloat16") * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize(
    ("make", "precision", "said"),
    [
        (net, "half", "precision='half' was given for a model in float32; expected float32, or bfloat16 or float16"),
        (net, "float64", "precision='float64' was given for a model in float32"),
        (net, "float16", "precision='float16' was given for a model on the device cpu; expected one on cuda"),
        (lambda: net().double(), "bfloat16", "precision='bfloat16' was given for a model in float64"),
        (lambda: net().double(), "float32", "precision='float32' was given for a model in float64"),
    ],
)
def test_what_is_refused(make: Any, precision: str, said: str) -> None:
    with pytest.raises(sl.ModelError, match=said) as caught:
        sl.explain(make(), images(), precision=precision)
    assert str(caught.value).count("\n") == 1


def test_inside_an_autocast_of_the_callers_everything_is_computed_as_outside() -> None:
    methods = ["integrated-gradients", "rise", "eigen-cam", "score-cam", "occlusion", "grad-cam", "lrp-epsilon"]
    few = {"steps": 4, "samples": 4, "window": 8, "stride": 8}
    plain = explained(net(), methods, **few)
    with torch.autocast("cpu", torch.bfloat16):
        inside = explained(net(), methods, **few)
    for one, other in zip(inside, plain, strict=True):
        np.testing.assert_array_equal(one.map, other.map, err_msg=one.method)


def test_the_answer_tells_where_and_how_it_was_computed() -> None:
    told = [sl.explain(model, images()).facts() for model in (net(), net().double(), net().bfloat16())]
    assert [(f["device"], f["precision"], f["layout"]) for f in told] == [
        ("cpu", "float32", "channels_last"),
        ("cpu", "float64", "contiguous"),
        ("cpu", "bfloat16", "channels_last"),
    ]
    dense = nn.Sequential(nn.Flatten(), nn.Linear(3072, 4))
    assert sl.explain(dense, images(), method="gradient").facts()["layout"] == "contiguous"
    (exact,) = explained(net(), ["gradient"], precision="float32")  # what it is already
    np.testing.assert_array_equal(exact.map, explained(net(), ["gradient"])[0].map)
