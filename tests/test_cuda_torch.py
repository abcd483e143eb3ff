"""Passes on a GPU: where they are made is told, memory is kept, and maps are those of the CPU."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torchvision

import sightline as sl

FRAMEWORKS = ("torch",)
pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device that PyTorch can use")
CONVOLUTIONS = torch.backends.cudnn.conv
FEW: dict[str, Any] = {"steps": 6, "samples": 4, "window": 32, "stride": 32}
METHODS = ("gradient", "integrated-gradients", "grad-cam", "guided-backprop", "occlusion", "ablation-cam", "rise")
METHODS += ("lrp-epsilon", "deep-lift", "cam", "full-grad", "eigen-cam")


@pytest.fixture(autouse=True)
def settings() -> Iterator[None]:
    """PyTorch's own, also after a test that changes them."""
    kept = CONVOLUTIONS.fp32_precision
    CONVOLUTIONS.fp32_precision = "tf32"
    yield
    CONVOLUTIONS.fp32_precision = kept


def net(device: str = "cuda") -> torch.nn.Module:
    torch.manual_seed(0)
    return torchvision.models.resnet18(weights=None).eval().to(device)


def images(count: int = 2) -> torch.Tensor:
    return torch.randn(count, 3, 96, 96, generator=torch.Generator().manual_seed(1))


def explained(model: Any, methods: Any = METHODS, x: Any = None, **options: Any) -> list[sl.Explanation]:
    few = FEW if methods is METHODS else {}
    found = sl.explain(model, images() if x is None else x, method=list(methods), target=3, **few, **options)
    assert isinstance(found, list)
    return found


def assert_alike(found: sl.Explanation, expected: sl.Explanation, tolerance: float) -> None:
    assert np.abs(expected.map).max() > 0
    away = np.abs(found.map - expected.map).max() / np.abs(expected.map).max()
    assert away < tolerance, (found.method, away)


def test_maps_are_those_of_the_cpu() -> None:
    CONVOLUTIONS.fp32_precision = "ieee"
    for found, expected in zip(explained(net()), explained(net("cpu")), strict=True):
        assert_alike(
            found, expected, 1e-2
        )  # the six points of a path lie now on one side of a ReLU's bend, now on the other
        np.testing.assert_allclose(found.score, expected.score, rtol=1e-4)
        assert not [note for note in found.notes if "as a whole" in note], found.method


def test_the_answer_tells_of_tensor_float() -> None:
    facts = explained(net(), ["gradient"])[0].facts()
    assert (facts["device"], facts["precision"]) == ("cuda:0", "float32, tf32 in convolutions")
    CONVOLUTIONS.fp32_precision = "ieee"
    assert explained(net(), ["gradient"])[0].facts()["precision"] == "float32"
    assert explained(net().double(), ["gradient"])[0].facts()["precision"] == "float64"


@pytest.mark.parametrize("precision", ["bfloat16", "float16", "float32"])
def test_maps_in_lower_precision_are_nearly_the_same(precision: str) -> None:
    CONVOLUTIONS.fp32_precision = "ieee"
    exact = explained(net())
    CONVOLUTIONS.fp32_precision = "tf32"
    for rough, whole in zip(explained(net(), precision=precision), exact, strict=True):
        assert rough.map.dtype == np.float32
        assert not np.array_equal(rough.map, whole.map), rough.method
        assert np.corrcoef(rough.map.ravel(), whole.map.ravel())[0, 1] > 0.9, rough.method
        assert precision in rough.facts()["precision"]


def test_a_spec_goes_to_the_gpu_unless_told_otherwise() -> None:
    assert sl.load("torchvision:resnet18", weights="random").model.computed["device"] == "cuda:0"
    assert sl.load("torchvision:resnet18", weights="random", device="cpu").model.computed["device"] == "cpu"
    with pytest.raises(sl.ModelError, match=r"device 'cuda:99' was given.*\nUse"):
        sl.load("torchvision:resnet18", weights="random", device="cuda:99")


def test_images_may_lie_anywhere() -> None:
    CONVOLUTIONS.fp32_precision = "ieee"
    model, x = net(), images()
    (expected,) = explained(model, ["gradient"], x)
    for same in (x.numpy(), x.cuda(), x.cuda().contiguous(memory_format=torch.channels_last)):
        assert_alike(explained(model, ["gradient"], same)[0], expected, 1e-4)


def test_nothing_stays_on_the_gpu() -> None:
    model, left = net(), []
    for _ in range(4):
        explained(model)
        gc.collect()
        left.append(torch.cuda.memory_allocated())
    before = left[1]
    assert left[1:] == [before] * 3, left  # the libraries' own workspaces are there from the first call on
    del model
    gc.collect()
    assert torch.cuda.memory_allocated() < before - 40 * 10**6  # its weights are free


def test_a_limit_holds() -> None:
    model, x = torchvision.models.resnet50(weights=None).eval().cuda(), torch.randn(1, 3, 512, 512)
    sl.explain(model, x, method="gradient")
    held = {}
    for limit in ("2GB", None):
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        sl.explain(model, x, method="integrated-gradients", steps=60, memory=limit)
        held[limit] = torch.cuda.max_memory_allocated() - before
    assert 2e8 < held["2GB"] < 2e9 < held[None]


def test_where_memory_does_not_last_passes_are_halved_and_no_map_changes() -> None:
    CONVOLUTIONS.fp32_precision = "ieee"
    loaded, x = sl.load(torchvision.models.resnet50(weights=None).eval().cuda()), torch.randn(1, 3, 224, 224)
    wide = replace(loaded, model=replace(loaded.model, chunk=128))
    ask: dict[str, Any] = {"method": "integrated-gradients", "steps": 64, "target": 3}
    expected = sl.explain(loaded, x, **ask)
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 3 * 10**9) / total)
    try:
        found = sl.explain(wide, x, **ask)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert isinstance(found, sl.Explanation) and isinstance(expected, sl.Explanation)
    assert "memory did not last for more than" in found.notes[-1]
    assert_alike(found, expected, 2e-3)


def test_compiled_passes_give_the_same_map() -> None:
    CONVOLUTIONS.fp32_precision = "ieee"
    (plain,) = explained(net(), ["gradient"])
    (found,) = explained(net(), ["gradient"], compile=True)
    assert any("were compiled" in note for note in found.notes)
    assert_alike(found, plain, 2e-3)
