"""Sanity checks: random weights from the top down, against a twin, in every framework; and the model stays as it is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import paper
import paper_metrics_place as twin
import sightline as sl
from asked import IMAGES, NET, as_input
from nets import FRAMEWORK, build, native, snapshot, use_float64, with_trip
from sightline.alike import SIMILARITIES
from sightline.randomised import Randomised, drawn, own_weights, parameters_of
from sightline.sanity import ALIKE, entropy_of

FRAMEWORKS = ("torch", "keras-tensorflow", "keras-jax", "keras-torch")
use_float64()
TOP = [int(paper.scores(NET, image).argmax()) for image in IMAGES]
LAYERS = ("head", "conv2", "conv1")  # from the top


@pytest.fixture(scope="module")
def model() -> Any:
    return build(NET)


def own_shape(values: np.ndarray) -> np.ndarray:
    """The paper's weights as the framework has them."""
    return values.transpose(*range(values.ndim)[::-1][:2], *range(values.ndim - 2)) if is_torch(values) else values


def papers_shape(values: np.ndarray) -> np.ndarray:
    return values.transpose(*range(values.ndim)[2:], 1, 0) if is_torch(values) else values


def is_torch(values: np.ndarray) -> bool:
    return FRAMEWORK == "torch" and values.ndim > 1


def random_net(names: Sequence[str], random_state: int = 0) -> paper.Net:
    """The paper's net with normal draws in the place of the weights of these layers."""
    found, number = [], 0
    for kind, name, *weights in NET:
        drawn_here = []
        for values in weights:
            draw = np.random.default_rng([random_state, number]).normal(size=own_shape(values).shape)
            drawn_here.append(papers_shape(values.mean() + values.std() * draw))
            number += 1
        found.append((kind, name, *(drawn_here if name in names else weights)))
    return found


def expected(names: Sequence[str], image: np.ndarray, c: int) -> dict[str, float]:
    a, b = (np.abs(paper.gradient(net, image, c)).max(axis=2) for net in (NET, random_net(names)))
    return {
        "spearman": twin.spearman(a, b),
        "spearman-absolute": twin.spearman(np.abs(a), np.abs(b)),
        "ssim": twin.ssim(a, b),
        "hog": twin.hog_correlation(a, b, 4),
    }


@pytest.mark.parametrize("mode", ["cascading", "independent"])
def test_similarities_equal_the_twin(model: Any, mode: Any) -> None:
    (found,) = sl.check(model, as_input(IMAGES), method="gradient", mode=mode)
    assert [name.rpartition("/")[2] for name in found.layers] == list(LAYERS)
    assert found.counts == ((1, 2, 3) if mode == "cascading" else (1, 1, 1))
    assert found.depth == 3 and [facts["index"] for facts in found.target] == TOP
    for stage in range(3):
        names = LAYERS[: stage + 1] if mode == "cascading" else LAYERS[stage : stage + 1]
        for i, (image, c) in enumerate(zip(IMAGES, TOP)):
            for name, value in expected(names, image, c).items():
                assert found.similarities[name][stage, i] == pytest.approx(value, abs=2e-5)
    assert max(values.max() for values in found.similarities.values()) < 0.99  # the model itself is none of the stages


def test_entropy_rises_as_the_twin_says(model: Any) -> None:
    for mode in ("cascading", "independent"):
        (found,) = sl.check(model, as_input(IMAGES), method="gradient", mode=mode, stages=2)  # type: ignore[arg-type]
        for value, image, c in zip(found.entropy, IMAGES, TOP):
            h = []
            for net in (NET, random_net(LAYERS)):
                m = np.abs(paper.gradient(net, image, c)).max(axis=2).ravel()
                cells = np.minimum(((m - m.min()) / (m.max() - m.min()) * 100).astype(int), 99)
                shares = [(cells == cell).mean() for cell in set(cells.tolist())]
                h.append(-sum(p * np.log(p) for p in shares))
            assert value == pytest.approx((h[1] - h[0]) / h[0], abs=0.01)  # float32 maps move a value between two bins
    assert np.isnan(entropy_of(np.full((1, 2, 2), np.nan))).all()


def test_a_map_that_marks_nothing_is_not_compared(model: Any) -> None:
    both = as_input(np.stack([np.full_like(IMAGES[0], 0.5), IMAGES[0]]))  # no edges, and some
    (found,) = sl.check(model, both, method="edges", stages=2)
    assert np.isnan(found.entropy).tolist() == [True, False]
    assert found.mean().tolist() == pytest.approx([1, 1]) and found.alarm
    (found,) = sl.check(model, both[:1], method="edges", stages=2)
    assert found.sentence.startswith("The maps of edges are the same everywhere before any layer is random")
    assert found.mean().tolist() == [0, 0] and not found.alarm


def test_the_model_stays_as_it_is(model: Any) -> None:
    before = snapshot(model)
    for name in ("gradient", "grad-cam", "occlusion", "guided-backprop"):
        sl.check(model, as_input(IMAGES[:1]), method=name, stages=1)
    assert snapshot(model) == before


def test_the_model_stays_as_it_is_after_an_exception() -> None:
    trip: list[type[Exception]] = []
    tripped = with_trip(build(NET), trip)
    x = native(IMAGES[:1], sl.load(tripped).model)
    random = random_model(tripped, x)
    before = snapshot(tripped)
    trip.append(RuntimeError)
    with pytest.raises(RuntimeError, match="tripped"):
        random.run(x, edit={"": 0 * x}, at=[""], target=lambda outputs: outputs[:, 0])
    assert snapshot(tripped) == before


def random_model(model: Any, x: Any) -> Randomised:
    adapted = sl.load(model).model
    weights = drawn(own_weights(adapted, x, parameters_of(adapted, x)), 0)
    return Randomised(adapted, weights, adapted.chunk)


def test_the_same_random_state_gives_the_same_weights(model: Any) -> None:
    first, again, other = (
        sl.check(model, as_input(IMAGES), method="gradient", stages=1, random_state=state)[0].similarities
        for state in (3, 3, 4)
    )
    for name in SIMILARITIES:
        np.testing.assert_array_equal(first[name], again[name])
        assert not np.allclose(first[name], other[name])


def test_an_image_does_not_depend_on_its_neighbours(model: Any) -> None:
    (together,) = sl.check(model, as_input(IMAGES), method="gradient", stages=2)
    loaded = sl.load(model)
    fewer = replace(loaded, model=replace(loaded.model, chunk=2))  # type: ignore[type-var]
    (parted,) = sl.check(fewer, as_input(IMAGES), method="gradient", stages=2)
    np.testing.assert_allclose(parted.similarities["spearman"], together.similarities["spearman"], rtol=1e-5)
    for i in range(3):
        (alone,) = sl.check(model, as_input(IMAGES[i : i + 1]), method="gradient", stages=2)
        for name in SIMILARITIES:
            np.testing.assert_allclose(alone.similarities[name][:, 0], together.similarities[name][:, i], rtol=1e-5)


def test_copies_compare_the_means_over_noisy_images(model: Any) -> None:
    (found,) = sl.check(model, as_input(IMAGES), method="gradient", stages=1, copies=3, copy_noise=0.2)
    (same,) = sl.check(model, as_input(IMAGES), method="smoothgrad", stages=1, of="gradient", samples=3, noise=0.2)
    np.testing.assert_array_equal(found.similarities["ssim"], same.similarities["ssim"])
    (plain,) = sl.check(model, as_input(IMAGES), method="gradient", stages=1)
    assert not np.allclose(found.similarities["ssim"], plain.similarities["ssim"])


def test_a_control_raises_the_alarm_and_the_gradient_does_not(model: Any) -> None:
    found = sl.check(model, as_input(IMAGES), method=["edges", "gradient"], target=["top", 1])
    assert [(c.method, c.alarm) for c in found] == [("edges", True)] * 2 + [("gradient", False)] * 2
    assert all((c.mean(name) == pytest.approx(1)) for c in found[:2] for name in SIMILARITIES)
    assert found[0].unmoved == 3 and found[2].mean()[1] < ALIKE
    assert "stay alike when the top 3 of 3 layers are random" in found[0].sentence
    assert "change when the top 2 of 3 layers are random" in found[2].sentence
    assert [c.target[0]["index"] for c in found] == [TOP[0], 1] * 2


def test_the_answer_is_saved_as_a_picture_with_its_facts_and_as_json(model: Any, tmp_path: Path) -> None:
    (found,) = sl.check(model, as_input(IMAGES), method="gradient", stages=2, mode="independent")
    picture = found.save(tmp_path / "a.png")
    from sightline.pictures import read_metadata

    assert read_metadata(picture)["says"] == found.sentence
    facts = json.loads(found.save(tmp_path / "a.json").read_text())
    assert facts["means"]["ssim"] == pytest.approx(found.mean("ssim").tolist())
    assert facts["threshold"] == ALIKE and facts["alarm"] is False
    with pytest.raises(sl.InputError, match="ending"):
        found.save(tmp_path / "a.gif")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"mode": "both"}, "mode='both'"),
        ({"stages": 0}, "stages=0"),
        ({"copies": 2, "method": "smoothgrad"}, "wraps a method"),
        ({"copies": 2, "method": "rise"}, "draws samples itself"),
        ({"stepz": 2}, "'stepz'"),
    ],
)
def test_wrong_requests_are_refused(model: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(sl.MethodError, match=said):
        sl.check(model, as_input(IMAGES), **({"method": "gradient"} | options))


class _Own:
    """An adapter of the user's own, which tells of no parameters."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def __getattr__(self, name: str) -> Any:
        if name == "parameters":
            raise AttributeError(name)
        return getattr(self.model, name)


def test_a_model_whose_parameters_are_not_told_is_refused(model: Any) -> None:
    with pytest.raises(sl.ModelError, match="no parameter can be replaced"):
        sl.check(_Own(sl.load(model).model), as_input(IMAGES), method="gradient")
