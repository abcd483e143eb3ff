"""The entrance to metrics: what reaches a metric, how protocols are named, how images and masks are put together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import sightline as sl
from nets import build, native, use_float64
from rows import IMAGES, NET
from sightline.images import Geometry
from sightline.masks import masks_for
from sightline.measure import read_spec, specs_in
from sightline.metric import METRICS, Metric

FRAMEWORKS = ("torch", "keras-tensorflow", "keras-jax", "keras-torch")
SIZE = IMAGES.shape[1:3]


@pytest.fixture(scope="module")
def model() -> Any:
    use_float64()
    return sl.load(build(NET))


def measured(model: Any, images: np.ndarray = IMAGES, **options: Any) -> list[sl.Measurement]:
    return sl.measure(model, native(images, model.model), **options)


def test_maps_are_those_of_explain(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, np.ndarray] = {}

    def spy(maps: np.ndarray, attribution: np.ndarray, model: Any, x: Any, target: Any, again: Any) -> np.ndarray:
        seen["maps"], seen["attribution"], seen["again"] = maps, attribution, again(x)
        seen["score"] = np.asarray(model.run(x, target=target).score, np.float64)
        return np.arange(len(maps), dtype=float)

    monkeypatch.setitem(METRICS, "spy", Metric("spy", spy, "test", "higher", 0, 1, "here"))
    found = measured(model, metric="spy", method="input-x-gradient", target=1)
    e = sl.explain(model, native(IMAGES, model.model), method="input-x-gradient", target=1)
    assert isinstance(e, sl.Explanation)
    assert np.allclose(seen["maps"], e.map, atol=0) and np.allclose(seen["again"], e.map, rtol=1e-6)
    assert np.allclose(seen["attribution"], e.attribution, atol=0)
    assert np.allclose(seen["score"][0], e.score, rtol=1e-10)
    assert found[0].values.tolist() == list(range(len(IMAGES)))


def test_a_flat_list_one_a_method_target_and_metric(model: Any) -> None:
    found = measured(model, metric=["sparseness", "deletion:steps=3"], method=["gradient", "grad-cam"], target=[0, 2])
    told = [(m.method, m.explanation.target[0]["index"], m.metric) for m in found]
    expected = [(m, t, k) for m in ("gradient", "grad-cam") for t in (0, 2) for k in ("sparseness", "deletion")]
    assert told == expected
    alone = measured(model, metric="deletion:steps=3", method="grad-cam", target=2)
    assert np.allclose(alone[0].values, found[-1].values, rtol=1e-10)


def test_an_image_does_not_depend_on_its_batch(model: Any) -> None:
    options: dict[str, Any] = {"metric": ["deletion:steps=4", "max-sensitivity:samples=2"], "method": "gradient"}
    together = measured(model, **options)
    for i in range(len(IMAGES)):
        alone = measured(model, IMAGES[i : i + 1], **options)
        assert [m.values[0] for m in alone] == pytest.approx([m.values[i] for m in together], rel=1e-9)


def test_deletion_by_hand(model: Any) -> None:
    found = measured(model, metric="deletion:steps=2,fill=0,scored=logit", method="gradient", target=0)[0]
    scores = []
    for image, heat in zip(IMAGES, found.explanation.map):
        order = np.argsort(-heat.ravel(), kind="stable")
        kept = np.ones(order.size)
        kept[order[: order.size // 2]] = 0
        steps = [image, image * kept.reshape(*SIZE, 1), 0 * image]
        e = sl.explain(model, native(np.stack(steps), model.model), target=0)
        assert isinstance(e, sl.Explanation)
        scores.append(e.score)
    assert np.allclose(found.curves["deletion"], scores, rtol=1e-6)
    assert np.allclose(found.values, [s[0] / 4 + s[1] / 2 + s[2] / 4 for s in np.array(scores)], rtol=1e-6)


def test_mean_and_error_leave_out_what_has_no_answer(model: Any) -> None:
    images = np.concatenate([IMAGES, IMAGES[:, ::-1] / 2])
    masks = np.zeros((len(images), *SIZE), bool)
    masks[1:, :4] = True
    found = measured(model, images, metric="energy-pointing-game", method="grad-cam", masks=masks)[0]
    energy = np.maximum(found.explanation.map, 0).astype(np.float64)
    inside = (energy * masks).sum(axis=(1, 2)) / energy.sum(axis=(1, 2))
    assert np.isnan(found.values[0]) and np.allclose(found.values[1:], inside[1:])
    known = found.values[np.isfinite(found.values)]
    assert found.mean == pytest.approx(known.mean())
    assert found.standard_error == pytest.approx(known.std(ddof=1) / np.sqrt(len(known)))
    facts = json.loads(json.dumps(found.facts()))
    assert facts["values"][0] is None and facts["without_answer"] == len(images) - len(known)
    assert facts["range"] == [0, 1] and facts["better"] == "higher"


def test_protocols_have_names() -> None:
    assert read_spec("a:b=1, c=d", {}) == ("a", {"b": "1", "c": "d"})
    assert specs_in("deletion:rise-2018")[0][1]["steps"] == 224
    assert specs_in({"deletion": {"steps": 3}}) == [("deletion", {"steps": 3})]
    with pytest.raises(sl.MethodError, match="no protocol called 'rise-2019'"):
        specs_in("deletion:rise-2019")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"metric": "deletions"}, "metric 'deletions' was given"),
        ({"metric": "deletion:step=3"}, "option 'step' was given; deletion does not have it"),
        ({"metric": "deletion:steps=0"}, "at least 1"),
        ({"metric": "energy-pointing-game"}, "was given without masks"),
        ({"metric": "deletion", "method": "grad-can"}, "method 'grad-can' was given"),
        ({"metric": "deletion", "target": lambda scores: scores[0]}, "no single class"),
        ({"metric": "energy-pointing-game", "masks": np.ones((1, *SIZE))}, "1 masks were given for"),
        ({"metric": "energy-pointing-game", "masks": np.ones((len(IMAGES), 3, 3))}, r"a mask of \(3, 3\) was given"),
    ],
)
def test_a_mistake_is_told_in_two_lines(model: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(sl.SightlineError, match=said) as caught:
        measured(model, **options)
    assert len(str(caught.value).splitlines()) == 2


def test_masks_are_cropped_and_resized_as_the_picture_is(tmp_path: Path) -> None:
    mask = np.zeros((40, 60), bool)
    mask[:, 30:] = True
    Image.fromarray(mask.astype(np.uint8) * 255).save(tmp_path / "mask.png")
    geometry = Geometry((40, 60), (20, 30), (0, 5, 20, 20))
    found = masks_for([tmp_path / "mask.png", mask, np.eye(20)], (geometry,) * 3)
    assert np.array_equal(found[0], found[1]) and np.array_equal(found[2], np.eye(20) > 0)
    assert not found[0][:, :10].any() and found[0][:, 10:].all()


def test_auto_says_what_it_took(model: Any) -> None:
    images = native(IMAGES, model.model)
    found = sl.explain(model, images, method="auto", steps=4, target=0)
    expected = sl.explain(model, images, method="integrated-gradients", baseline="mean", steps=4, target=0)
    assert isinstance(found, sl.Explanation) and isinstance(expected, sl.Explanation)
    assert np.array_equal(found.map, expected.map)
    assert found.method == "integrated-gradients" and any("method='auto' took" in note for note in found.notes)
    own = sl.explain(model, images, method="auto", steps=4, target=0, baseline="white")
    assert isinstance(own, sl.Explanation) and own.params["baseline"] == "white"
