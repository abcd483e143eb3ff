"""Boxes of detectors: scores by a slow loop, gradients in closed form, and the nets of torchvision and transformers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.ops import box_iou

import sightline as sl
from detectors import Finder, detr, faster_rcnn, retina, small_rcnn
from nets import snapshot
from sightline.frameworks.torch import TorchModel

FRAMEWORKS = ("torch",)
RNG = np.random.default_rng(0)
PLACES = [[0, 0, 8, 8], [4, 4, 12, 12], [8, 2, 16, 10], [5, 5, 12, 12]]
X = RNG.random((3, 3, 16, 16)) * 0.9
X[0, :, :8, :8] += 0.1
METHODS = ("gradient", "grad-cam", "integrated-gradients", "rise", "occlusion")
FEW: dict[str, dict[str, Any]] = {
    "integrated-gradients": {"steps": 2},
    "rise": {"samples": 4},
    "occlusion": {"window": 32, "stride": 32},
}


def iou(a: Any, b: Any) -> float:
    inside = [max(0.0, min(a[i + 2], b[i + 2]) - max(a[i], b[i])) for i in (0, 1)]
    areas = [(c[2] - c[0]) * (c[3] - c[1]) for c in (a, b)]
    return inside[0] * inside[1] / (sum(areas) - inside[0] * inside[1])


def best(x: np.ndarray, box: Any, classes: Any) -> tuple[float, list[int], int]:
    """The score of one image by the definition, and which detection of which class has it."""
    found = [
        (iou(box, p) * x[c, p[1] : p[3], p[0] : p[2]].mean(), p, c)
        for p in PLACES
        for c in classes
    ]  # fmt: skip
    return max(found, key=lambda one: one[0])


@pytest.mark.parametrize(("target", "classes"), [(None, range(3)), (1, [1]), ("bird", [2])])
@pytest.mark.parametrize("box", [(3, 3, 11, 11), (0.5, 0, 9, 7.5), (9, 1, 16, 9)])
def test_the_best_detection_of_each_image_and_its_gradient(box: Any, target: Any, classes: Any) -> None:
    e = sl.explain(Finder(PLACES, 16), X, method="gradient", target=sl.Box(box, target), labels=["cat", "dog", "bird"])
    for i, x in enumerate(X):
        score, p, c = best(x, box, classes)
        assert e.score[i] == pytest.approx(score, rel=1e-10)
        expected = np.zeros((16, 16, 3))
        expected[p[1] : p[3], p[0] : p[2], c] = iou(box, p) / ((p[2] - p[0]) * (p[3] - p[1]))
        np.testing.assert_allclose(e.attribution[i], expected.astype(np.float32), rtol=1e-7, atol=1e-12)
        facts = e.target[i]
        assert (facts["index"], facts["detection"], facts["box"]) == (c, p, list(map(float, box)))
        assert facts["iou"] == pytest.approx(iou(box, p), rel=1e-10)
        assert facts["probability"] * facts["iou"] == pytest.approx(score, rel=1e-10)
        assert facts["label"] == f"{['cat', 'dog', 'bird'][c]} at a box"
        assert e.facts(i)["explained"] == "IoU x probability of the class"
    assert e.top == [[]] * 3


def test_an_image_without_the_object_chooses_another_detection() -> None:
    """Where a square is covered, the score is that of whatever then fits best: not that of the first choice."""
    box = (4, 4, 12, 12)
    e = sl.explain(Finder(PLACES, 16), X, method="occlusion", target=sl.Box(box, 0), window=8, stride=8, baseline=0.0)
    for i, x in enumerate(X):
        for row in (0, 8):
            for column in (0, 8):
                covered = x.copy()
                covered[:, row : row + 8, column : column + 8] = 0
                lost = best(x, box, [0])[0] - best(covered, box, [0])[0]
                assert e.map[i, row, column] == pytest.approx(lost, rel=1e-5, abs=1e-7)


def test_ranks_count_objects_once() -> None:
    """The fourth place overlaps the second by more than half: of one class they are one object."""
    brightness = [(X[0, c, p[1] : p[3], p[0] : p[2]].mean(), p, c) for p in PLACES for c in range(3)]
    left, order = sorted(brightness, key=lambda one: -one[0]), []
    while left:
        order.append(left[0])
        left = [one for one in left if one[2] != left[0][2] or iou(one[1], left[0][1]) <= 0.5]
    assert len(order) == 9
    found = sl.explain(Finder(PLACES, 16), X[:1], method="gradient", target=["box:0", sl.Box(1), "box:8", "box:1:2"])
    of_class = [one for one in order if one[2] == 2][1]
    for e, (sure, p, c) in zip(found, [order[0], order[1], order[8], of_class]):
        assert e.score[0] == pytest.approx(sure, rel=1e-10)
        assert (e.target[0]["detection"], e.target[0]["index"], e.target[0]["iou"]) == (p, c, 1)
    assert found[3].target[0]["label"] == "class 2, detection 1"


def test_a_box_is_in_the_pixels_of_the_file() -> None:
    picture = RNG.integers(0, 256, (48, 60, 3), dtype=np.uint8)  # resized to 16 by 20, of which the middle is seen
    (e,) = sl.explain(
        Finder(PLACES, 16).double(),
        picture,
        method="gradient",
        target=["box:12,6,40,40:1"],
        preprocess="resize=16,crop=16",
    )
    facts, x = e.target[0], picture[:, 6:54] / 255
    inner = [(12 - 6) / 3, 2, (40 - 6) / 3, 40 / 3]
    p = [edge / 3 - shift / 3 for edge, shift in zip(facts["detection"], (6, 0, 6, 0))]
    assert p in PLACES
    assert facts["iou"] == pytest.approx(iou(inner, p), rel=1e-6)
    assert facts["box"] == [12, 6, 40, 40]
    assert x.shape[:2] == (48, 48)


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (sl.Box((1, 2, 3)), r"the box \(1, 2, 3\) was given; expected x0, y0, x1, y1 in a picture of 16 x 16.*\n.*rank"),
        (sl.Box((9, 9, 2, 2)), r"the box .* expected x0, y0, x1, y1.*\n"),
        (sl.Box((20, 0, 30, 9)), r"the box .* expected x0, y0, x1, y1.*\n"),
        (sl.Box((0, 12, 3, 16)), r"no detection of object overlaps it\.\nGive another"),
        (sl.Box((0, 0, 9, 9), 7), r"no detection of 'class 7' overlaps it\.\n"),
        (sl.Box(99), r"detection 99 was given; the model finds fewer\.\n"),
        (sl.Box(0, "cat"), r"class 'cat' was given.*\n.*labels"),
        ("box:a,b", r"target 'box:a,b' was given; 'a,b' is no box\.\nWrite box:x0"),
        ("top", r"a class was asked for; the model gives 12 detections\.\nSay at which box: .*box:0"),
    ],
)  # fmt: skip
def test_a_box_that_is_not_there(target: Any, said: str) -> None:
    with pytest.raises(sl.TargetError, match=f"^{said}" if said.startswith("target") else said) as caught:
        sl.explain(Finder(PLACES, 16), X, method="gradient", target=target)
    assert str(caught.value).count("\n") == 1


def test_a_box_of_a_classifier() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(768, 4)).double()
    with pytest.raises(
        sl.TargetError, match=r"a box was given; the model's output is \(4,\), no detections\.\n.*fractions"
    ):
        sl.explain(net, X, method="gradient", target=sl.Box(0))


def images(n: int, size: int = 64) -> torch.Tensor:
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def score_of(boxes: torch.Tensor, sure: torch.Tensor, box: Any) -> torch.Tensor:
    return (box_iou(boxes.double(), torch.tensor([box], dtype=torch.float64))[:, 0] * sure).max()


def test_the_candidates_of_a_faster_rcnn_are_what_it_would_give_without_thresholds() -> None:
    net = small_rcnn()
    everything = small_rcnn(box_score_thresh=-1.0, box_nms_thresh=2.0, box_detections_per_img=10_000)
    x = images(2)
    found = TorchModel(net).run(x).outputs
    with torch.no_grad():
        expected = everything(list(x))
    for rows, one in zip(found, expected):
        rows = rows[(rows[:, 2:4] - rows[:, :2] >= 1e-2 / 64).all(dim=1) & (rows[:, 5] > 0)]
        rows = rows[rows[:, 5].argsort(descending=True, stable=True)]
        torch.testing.assert_close(rows[:, 5], one["scores"], rtol=1e-10, atol=1e-12)
        boxes = torch.cat([one["boxes"] / 64, one["labels"][:, None].double(), one["scores"][:, None]], 1)
        torch.testing.assert_close(sorted(rows.tolist()), sorted(boxes.tolist()), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("make", [small_rcnn, faster_rcnn])
def test_the_score_and_the_gradient_of_a_faster_rcnn_are_autograd_s(make: Any) -> None:
    net, box = make(), (8, 10, 50, 44)
    everything = make(box_score_thresh=-1.0, box_nms_thresh=2.0, box_detections_per_img=10_000)
    x = images(1).requires_grad_()
    found = everything(list(x))[0]
    mine = found["labels"] == 2
    score = score_of(found["boxes"][mine], found["scores"][mine], box)
    (expected,) = torch.autograd.grad(score, [x])
    before = snapshot(net)
    e = sl.explain(net, x.detach(), method="gradient", target=sl.Box(box, 2))
    assert snapshot(net) == before
    assert e.score[0] == pytest.approx(float(score.detach()), rel=1e-10)
    scale = float(expected.abs().max())
    np.testing.assert_allclose(e.attribution[0], expected[0].numpy().transpose(1, 2, 0), rtol=1e-4, atol=1e-5 * scale)


def test_the_score_and_the_gradient_of_detr_are_autograd_s() -> None:
    net, box = detr(), (8, 10, 50, 44)
    x = images(2).requires_grad_()
    given = net(x)
    c, s = given.pred_boxes[..., :2], given.pred_boxes[..., 2:]
    boxes, sure = torch.cat([c - s / 2, c + s / 2], -1) * 64, given.logits.softmax(-1)[..., 1]
    score = torch.stack([score_of(boxes[i], sure[i], box) for i in (0, 1)])
    (expected,) = torch.autograd.grad(score.sum(), [x])
    e = sl.explain(net, x.detach(), method="gradient", target=sl.Box(box, 1))
    np.testing.assert_allclose(e.score, score.detach().numpy(), rtol=1e-10)
    scale = float(expected.abs().max())
    np.testing.assert_allclose(e.attribution, expected.numpy().transpose(0, 2, 3, 1), rtol=1e-4, atol=1e-6 * scale)


def test_a_descendant_of_detr_without_a_class_for_nothing_takes_the_sigmoid() -> None:
    net = detr()
    net.class_labels_classifier = nn.Linear(16, 4).double()
    with torch.no_grad():
        sure = net(images(1)).logits.sigmoid()[0].max()
    e = sl.explain(net, images(1), method="gradient", target=sl.Box(0))
    assert e.score[0] == pytest.approx(float(sure), rel=1e-10)


def test_torchvision_s_other_detectors_are_taken_by_what_they_return() -> None:
    net, x = retina(), images(2).requires_grad_()
    found = net(list(x))[0]
    assert len(found["scores"]) > 1
    (expected,) = torch.autograd.grad(found["scores"][0], [x])
    e = sl.explain(net, x.detach(), method="gradient", target=sl.Box(0))
    assert e.score[0] == pytest.approx(float(found["scores"][0].detach()), rel=1e-10)
    np.testing.assert_allclose(e.target[0]["detection"], found["boxes"][0].detach(), atol=0.01)
    np.testing.assert_allclose(e.attribution[0], expected[0].permute(1, 2, 0), rtol=1e-4, atol=1e-8)


def test_detections_behind_thresholds_are_taken_as_they_are() -> None:
    """A detector of another kind gives a list of its own, here of none and of two."""

    class Listing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("precision", torch.ones((), dtype=torch.float64))

        def forward(self, x: torch.Tensor) -> list[dict[str, torch.Tensor]]:
            boxes = x.new_tensor([[2, 2, 10, 12], [4, 0, 16, 8]])
            some = [boxes[:0] if float(one.detach().mean()) < 0.2 else boxes for one in x]
            return [
                {"boxes": b, "labels": torch.ones(len(b), dtype=torch.int64), "scores": one.mean().expand(len(b))}
                for b, one in zip(some, x)
            ]

    x = X[:2].copy()
    outputs = TorchModel(Listing()).run(torch.as_tensor(x * [[[[1]]], [[[0.1]]]])).outputs
    assert outputs.shape == (2, 2, 6)
    assert not outputs[1].any()
    e = sl.explain(Listing(), x, method="gradient", target=sl.Box((4, 0, 16, 8), 1))
    np.testing.assert_allclose(e.score, x.mean((1, 2, 3)), rtol=1e-10)
    np.testing.assert_allclose(e.attribution, 1 / 768, rtol=1e-6)
    empty = sl.explain(Listing(), x, method="occlusion", target=sl.Box(0), window=16, stride=16, baseline=0.0)
    np.testing.assert_allclose(empty.map.max((1, 2)), empty.score, rtol=1e-6)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("make", "layer"), [(detr, "model.backbone"), (small_rcnn, "backbone.3")])
def test_every_kind_of_method_on_detectors(make: Any, layer: str, method: str) -> None:
    net, options = make(), FEW.get(method, {}) | ({"layer": layer} if method == "grad-cam" else {})
    x, target, loaded = images(2), sl.Box((8, 10, 50, 44), 2), sl.load(net)
    loaded = replace(loaded, model=replace(loaded.model, chunk=1))  # whose passes find more and fewer
    e = sl.explain(loaded, x, method=method, target=target, **options)
    alone = sl.explain(net, x[1:], method=method, target=target, **options)
    assert np.ptp(e.map, axis=(1, 2)).all()
    assert alone.target == e.target[1:]
    np.testing.assert_allclose(alone.map, e.map[1:], rtol=1e-4, atol=1e-6 * float(e.map.max()))


def test_a_cam_of_many_passes_does_not_trust_a_memory_of_lists() -> None:
    """Ablation-CAM runs copies of the images; what a detector hands on between its parts is not as many as they are."""
    net, x, target = small_rcnn(), images(1), sl.Box((8, 10, 50, 44), 2)
    e = sl.explain(net, x, method="ablation-cam", target=target, layer="backbone.3")
    expected = np.zeros((8, 8))
    with torch.no_grad():
        a = TorchModel(net).run(x, at=["backbone.3"]).values["backbone.3"]
        for c in range(8):
            without = TorchModel(net).run(x, edit={"backbone.3": a * (torch.arange(8) != c)[:, None, None]}).outputs[0]
            mine = without[without[:, 4] == 2]
            lost = float(e.score[0]) - float(score_of(mine[:, :4] * 64, mine[:, 5], (8, 10, 50, 44)))
            expected += lost / float(e.score[0]) * a[0, c].numpy()
    np.testing.assert_allclose(e.attribution[0], np.maximum(expected, 0), rtol=1e-5, atol=1e-7)


def test_a_cam_of_a_box_asks_for_its_layer() -> None:
    for net, suggestion in ((detr(), r"model\.backbone"), (faster_rcnn(), r"backbone\.body\.16")):
        with pytest.raises(
            sl.LayerError, match=rf"^grad-cam of a box was asked for; .*\n.*layer=, such as '{suggestion}"
        ):
            sl.explain(net, images(1), method="grad-cam", target=sl.Box(0))


def test_a_layer_of_the_proposals_is_refused() -> None:
    with pytest.raises(
        sl.LayerError, match=r"'roi_heads.box_roi_pool' was given; it has \d+ maps for 2 images\.\n.*backbone"
    ):
        sl.explain(small_rcnn(), images(2), method="grad-cam", target=sl.Box(0), layer="roi_heads.box_roi_pool")
