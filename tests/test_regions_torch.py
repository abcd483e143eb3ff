"""Regions of a segmentation: scores and gradients in closed form, and the nets of torchvision and transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import sightline as sl
from detectors import Linear, deeplab, fcn, segformer

FRAMEWORKS = ("torch",)
RNG = np.random.default_rng(0)
WEIGHTS = RNG.normal(size=(4, 3))
X = RNG.normal(size=(2, 3, 8, 12))
METHODS = ("gradient", "grad-cam", "integrated-gradients", "rise", "occlusion")
FEW: dict[str, dict[str, Any]] = {
    "integrated-gradients": {"steps": 2},
    "rise": {"samples": 4},
    "occlusion": {"window": 32, "stride": 32},
}


def linear() -> Linear:
    return Linear(torch.as_tensor(WEIGHTS))


def scores(x: np.ndarray) -> np.ndarray:
    """(n, classes, 4, 6): the net once more."""
    y = np.einsum("kc,nchw->nkhw", WEIGHTS, x)
    return y.reshape(len(x), 4, 4, 2, 6, 2).mean((3, 5))


def assert_weighs(e: sl.Explanation, cells: np.ndarray, index: int) -> None:
    """Its score is that of the cells (n, 4, 6) and its gradient a quarter of the colours' weights at their pixels."""
    np.testing.assert_allclose(e.score, (scores(X)[:, index] * cells).sum((1, 2)), rtol=1e-10)
    on_pixels = cells.repeat(2, axis=1).repeat(2, axis=2)[..., None] / 4
    np.testing.assert_allclose(e.attribution, (on_pixels * WEIGHTS[index]).astype(np.float32), rtol=1e-7, atol=1e-12)


def test_without_a_mask_the_region_is_where_the_model_says_the_class() -> None:
    own = scores(X).argmax(axis=1)
    for index in range(4):
        cells = (own == index).astype(float)
        for target in (sl.Region(index), f"region:{index}"):
            e = sl.explain(linear(), X, method="gradient", target=target)
            assert_weighs(e, cells, index)
        assert [t["cells"] for t in e.target] == cells.sum((1, 2)).tolist()
        assert e.target[0]["label"] == f"class {index} where the model says so ({cells[0].sum():g} cells)"
        assert e.target[0]["region"] == "model"


def test_of_one_map_the_region_is_where_it_is_over_zero() -> None:
    net = Linear(torch.as_tensor(WEIGHTS[:1]))
    e = sl.explain(net, X, method="gradient", target=sl.Region(0))
    assert_weighs(e, (scores(X)[:, 0] > 0).astype(float), 0)


@pytest.mark.parametrize("shape", [(8, 12), (4, 6), (2, 8, 12)])
def test_a_mask_of_the_image_or_of_the_output(shape: tuple[int, ...]) -> None:
    mask = RNG.random(shape) > 0.5
    e = sl.explain(linear(), X, method="gradient", target=sl.Region(2, mask))
    cells = mask.astype(float) if shape == (4, 6) else mask.reshape(*shape[:-2], 4, 2, 6, 2).mean((-3, -1))
    assert_weighs(e, np.broadcast_to(cells, (2, 4, 6)), 2)


def test_the_mask_of_each_image_goes_with_it_into_every_pass() -> None:
    x = RNG.normal(size=(7, 3, 8, 12))  # more than one pass takes
    masks = RNG.random((7, 8, 12)) > 0.5
    e = sl.explain(linear(), x, method="gradient", target=sl.Region(1, masks))
    cells = masks.reshape(7, 4, 2, 6, 2).mean((2, 4))
    np.testing.assert_allclose(e.score, (scores(x)[:, 1] * cells).sum((1, 2)), rtol=1e-10)


@pytest.mark.parametrize("as_file", [True, False])
def test_a_mask_of_the_file_s_own_pixels_follows_resize_and_crop(tmp_path: Path, as_file: bool) -> None:
    """Thirty by forty pixels become twelve by sixteen, of which the middle eight by twelve are seen, in cells of two."""
    picture = RNG.integers(0, 256, (30, 40, 3), dtype=np.uint8)
    mask = RNG.random((30, 40)) > 0.7
    given: Any = mask
    if as_file:
        given = tmp_path / "mask.png"
        Image.fromarray(mask.astype(np.uint8)).save(given)
    e = sl.explain(
        linear().float(), picture, method="gradient", target=sl.Region(0, given), preprocess="resize=12x16,crop=8x12"
    )
    fine = mask.repeat(2, axis=0).repeat(2, axis=1)  # five of these are a pixel of the resized picture
    cells = fine[10:50, 10:70].reshape(4, 10, 6, 10).mean((1, 3))
    assert e.target[0]["cells"] == pytest.approx(cells.sum(), rel=1e-6)
    on_pixels = cells.repeat(2, axis=0).repeat(2, axis=1)[..., None] / 4
    np.testing.assert_allclose(e.attribution[0], on_pixels * WEIGHTS[0], rtol=1e-5, atol=1e-6)


def test_completeness_and_occlusion_of_a_linear_net_are_exact() -> None:
    mask = RNG.random((4, 6)) > 0.5
    target = sl.Region(3, mask)
    e = sl.explain(linear(), X, method="integrated-gradients", target=target, steps=4, baseline=0.0, reduce="sum")
    np.testing.assert_allclose(e.map.sum((1, 2)), e.score, rtol=1e-5)
    covered = sl.explain(linear(), X, method="occlusion", target=target, window=2, stride=2, baseline=0.0)
    share = scores(X)[:, 3] * mask  # what is lost where a cell is covered
    np.testing.assert_allclose(covered.attribution.reshape(2, -1).sum(1), share.sum((1, 2)) * 4, rtol=1e-5)


def test_the_output_that_libraries_call_the_scores_is_chosen_and_said() -> None:
    e = sl.explain(linear(), X, method="gradient", target=sl.Region(1))
    assert e.notes == ("explained is the output 'out', not 'aux'",)
    other = sl.explain(linear(), X, method="gradient", target=sl.Region(1), output="aux")
    assert not other.notes
    assert other.score[0] != e.score[0]


@pytest.mark.parametrize(
    ("target", "given", "fix"),
    [
        (sl.Region(0, np.zeros((8, 12))), "covers nothing", "another mask"),
        (sl.Region(0, np.ones((5, 5))), r"a region of \(5, 5\) was given", r"height and width \(8, 12\)"),
        (sl.Region(0, np.ones(5)), r"a mask of shape \(5,\)", "height and a width"),
        (sl.Region(0, np.ones((3, 8, 12))), "3 masks were given", "one for each image"),
        (sl.Region(9), "class 9 was given", "Take one"),
        ("top", "a score for each place", "region:CLASS"),
    ],
)
def test_a_region_that_is_not_there(target: Any, given: str, fix: str) -> None:
    with pytest.raises(sl.TargetError, match=rf"{given}.*\n.*{fix}"):
        sl.explain(linear(), X, method="gradient", target=target)


def test_a_class_that_the_model_says_nowhere() -> None:
    net = Linear(torch.as_tensor(WEIGHTS * [[1], [1], [1], [0]]) - torch.tensor([[0], [0], [0], [9.0]]))
    with pytest.raises(sl.TargetError, match=r"region of 'class 3' was given; .*nowhere.*\n.*the model says: class"):
        sl.explain(net, np.abs(X), method="gradient", target=sl.Region(3))


@pytest.mark.parametrize(
    ("make", "method"), [(fcn, "grad-cam"), *((make, m) for make in (deeplab, segformer) for m in METHODS)]
)
def test_every_kind_of_method_on_segmentation_nets(make: Any, method: str) -> None:
    net, mask = make(), np.zeros((64, 64), bool)
    mask[8:40, 16:48] = True
    x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1), dtype=next(net.parameters()).dtype)
    with torch.no_grad():
        given = net(x)
    y = given["logits"] if "logits" in given else given["out"]
    side = 64 // y.shape[-1]
    cells = torch.as_tensor(mask, dtype=y.dtype).reshape(y.shape[-2], side, y.shape[-1], side).mean((1, 3))
    e = sl.explain(net, x, method=method, target=sl.Region(1, mask), **FEW.get(method, {}))
    tolerance = 1e-10 if y.dtype == torch.float64 else 1e-4
    assert float(e.score[0]) == pytest.approx(float((y[0, 1] * cells).sum()), rel=tolerance)
    assert np.isfinite(e.map).all()
    assert np.ptp(e.map) > 0
    expected = {fcn: "classifier.3", deeplab: "classifier.3", segformer: "decode_head.dropout"}
    assert e.layer == (expected[make] if method == "grad-cam" else None)


def test_the_gradient_of_segformer_is_autograd_s() -> None:
    net, mask = segformer(), torch.zeros(8, 8, dtype=torch.float64)
    mask[2:5] = 1
    x = torch.rand(2, 3, 32, 32, dtype=torch.float64, requires_grad=True)
    (expected,) = torch.autograd.grad((net(x).logits[:, 3] * mask).sum(), [x])
    trace_of = sl.explain(net, x.detach(), method="gradient", target=sl.Region(3, mask))
    np.testing.assert_allclose(trace_of.attribution, expected.numpy().transpose(0, 2, 3, 1), rtol=1e-5, atol=1e-9)
