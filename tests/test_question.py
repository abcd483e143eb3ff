"""How many passes a question costs, and what each of them is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

import sightline as sl
from asked import IMAGES, LABELS, NUMBERS, as_input, asked

FRAMEWORKS = ("torch", "keras-tensorflow", "keras-jax", "keras-torch")


def product(scores: Any) -> Any:
    return scores[1] * scores[2] - scores[0]


@dataclass(frozen=True)
class Counting:
    """A model that counts its passes."""

    model: Any
    passes: list[tuple[bool, tuple[str, ...]]] = field(default_factory=list)  # whether a target was given; places

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def run(self, x: Any, **options: Any) -> Any:
        self.passes.append((options.get("target") is not None, tuple(options.get("at", ()))))
        return self.model.run(x, **options)


def passes(
    model: Any, target: Any, method: str | Sequence[str], images: np.ndarray, **options: Any
) -> list[tuple[bool, tuple[str, ...]]]:
    loaded = sl.load(model, labels=options.pop("labels", None))
    counting = Counting(loaded.model)
    sl.explain(replace(loaded, model=counting), as_input(images), method=method, target=target, **options)
    return counting.passes


@pytest.mark.parametrize("target", ["top", "top-3", ["top", 2], 3, "dog", "dog - cat", "up:1", product, [1, "top-2"]])
@pytest.mark.parametrize("method", ["gradient", "grad-cam", "guided-backprop"])
def test_one_pass_answers_and_finds_the_target(method: str, target: Any) -> None:
    assert [asked for asked, _ in passes(asked()["classes"], target, method, IMAGES, labels=LABELS)] == [True]


@pytest.mark.parametrize(("method", "count"), [("eigen-cam", 1), ("fem", 1), ("cam", 2), ("finer-cam", 2)])
def test_what_the_first_pass_told_is_not_asked_again(method: str, count: int) -> None:
    """The scores of a method that takes no gradient, those of a question made of the scores, and which class is the top."""
    for target in ("top", 3):
        assert len(passes(asked()["classes"], target, method, IMAGES)) == count


CAMS = (
    *("eigen-cam", "grad-cam", "grad-cam-plus-plus", "xgrad-cam", "hires-cam", "layer-cam", "elementwise-grad-cam"),
    *("eigen-grad-cam", "fem", "kpca-cam"),
)


def test_ten_cams_of_five_classes_share_one_pass() -> None:
    """One forward pass and a backward one for each class; and each finds what it finds alone."""
    model, classes = asked()["classes"], [0, 1, 2, 3, 4]
    ((with_target, places),) = passes(model, classes, CAMS, IMAGES)
    assert with_target
    assert len(places) == 1
    together = sl.explain(model, as_input(IMAGES), method=CAMS, target=classes)
    for i, name in enumerate(CAMS):
        alone = sl.explain(model, as_input(IMAGES), method=name, target=classes)
        for one, other in zip(together[5 * i : 5 * i + 5], alone):
            assert one.method == name
            assert one.target == other.target
            np.testing.assert_allclose(one.attribution, other.attribution, rtol=1e-6, atol=1e-9)


def test_a_pass_is_shared_by_those_alone_that_ask_the_same() -> None:
    """gradient and input-x-gradient share one; guided backprop bends it; each part of many images has its own."""
    model = asked()["classes"]
    three = ["gradient", "input-x-gradient", "guided-backprop", "grad-cam"]
    assert [places for _, places in passes(model, 1, three, IMAGES)] == [
        ("",),
        ("",),
        passes(model, 1, "grad-cam", IMAGES)[0][1],
    ]
    many = np.concatenate([IMAGES] * 20)
    found = sl.explain(model, as_input(many), method=three, target=1)
    for e in found:
        for start in range(0, len(many), len(IMAGES)):
            np.testing.assert_allclose(e.map[start : start + len(IMAGES)], e.map[: len(IMAGES)], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("model", "target"), [("binary", "top"), ("binary", 0), ("number", "up"), ("number", "down")])
def test_one_pass_is_enough_for_one_output(model: str, target: Any) -> None:
    assert len(passes(asked()[model], target, "gradient", IMAGES)) == 1


def test_top_of_a_regression_costs_a_second_pass_only_where_the_number_is_negative() -> None:
    assert len(passes(asked()["number"], "top", "gradient", IMAGES[NUMBERS > 0])) == 1
    assert len(passes(asked()["number"], "top", "gradient", IMAGES[NUMBERS < 0])) == 2


def test_the_pass_that_reads_a_layer_answers_too() -> None:
    found = passes(asked()["classes"], 3, "gradient", IMAGES, layer="pool1")
    assert found[-1] == (True, ("pool1",))
    assert found[:-1] in ([], [(False, ("pool1",))])  # none where what is remembered for the tail tells the layer
