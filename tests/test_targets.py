"""What can be asked: each target's score and gradient against the net of `paper.py`, in every framework."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import paper
import sightline as sl
from asked import ANSWERS, IMAGES, LABELS, MAPS, NET, NUMBERS, ONE, WAY, as_input, asked
from nets import FRAMEWORK, build
from sightline.arrays import to_numpy
from sightline.boxes import found_at

FRAMEWORKS = ("torch", "keras-tensorflow", "keras-jax", "keras-torch")
Claim = Callable[[np.ndarray, int], float]  # the score that is claimed, of one image's outputs and its number


def explained(model: Any, target: Any, **options: Any) -> list[sl.Explanation]:
    """A list of explanations by the gradient, of every image."""
    found = sl.explain(model, as_input(IMAGES), method="gradient", target=target, **options)
    return found if isinstance(found, list) else [found]


def assert_explains(e: sl.Explanation, net: paper.Net, claim: Claim) -> None:
    """Its score is what is claimed, and its gradient the slope of that, by central differences."""
    for i, image in enumerate(IMAGES):
        low, mid, high = (claim(paper.scores(net, image + step * WAY), i) for step in (-1e-6, 0.0, 1e-6))
        assert e.score[i] == pytest.approx(mid, rel=1e-9, abs=1e-12)
        slope = (high - low) / 2e-6
        assert abs(slope) > 1e-6
        found = (e.attribution[i].astype(np.float64) * WAY).sum()
        assert found == pytest.approx(slope, rel=1e-5, abs=1e-6 * float(np.abs(e.attribution[i]).sum()))


def ranked(rank: int) -> list[int]:
    return np.argsort(-ANSWERS, axis=1)[:, rank].tolist()


def score_of(index: int) -> Claim:
    return lambda s, i: s[index]


@pytest.mark.parametrize(
    ("target", "index"),
    [
        *[(3, 3), (np.int64(3), 3), ("3", 3), ("name:5", 3)],
        *[(" dog ", 1), ("name:dog", 1), ("Cat", 0), ("up", 2), ("UP", 2)],
        *[("cat - dog", 4), ("name:cat - dog", 4)],
    ],
)
def test_a_class_is_named_by_index_or_label(target: Any, index: int) -> None:
    (e,) = explained(asked()["classes"], target, labels=LABELS)
    assert e.target == [{"index": index, "label": LABELS[index]}] * 3
    assert_explains(e, NET, score_of(index))


def test_a_class_without_a_name_is_called_by_its_index() -> None:
    (e,) = explained(asked()["classes"], 3)
    assert e.target[0] == {"index": 3, "label": "class 3"}


def test_top_is_the_class_of_each_image() -> None:
    assert len(set(ranked(0))) > 1  # else each image's own class could not be told from one for all
    for target in ("top", "TOP-1"):
        (e,) = explained(asked()["classes"], target, labels=LABELS)
        assert e.target == [{"index": c, "label": LABELS[c]} for c in ranked(0)]
        assert_explains(e, NET, lambda s, i: s[ranked(0)[i]])


def test_top_3_is_three_explanations() -> None:
    found = sl.explain(asked()["classes"], as_input(IMAGES), method="gradient", target="top-3")
    assert isinstance(found, list)
    for rank, e in enumerate(found):
        assert [t["index"] for t in e.target] == ranked(rank)
        assert_explains(e, NET, lambda s, i, rank=rank: s[ranked(rank)[i]])
    assert len(found) == 3


@pytest.mark.parametrize(
    ("target", "plus", "minus"),
    [("dog - cat", 1, 0), ("1 - 4", 1, 4), ("cat - dog - up", 4, 2), ("dog - name:5", 1, 3), ("up - cat - dog", 2, 4)],
)
def test_contrast_is_a_difference_of_scores(target: str, plus: int, minus: int) -> None:
    (e,) = explained(asked()["classes"], target, labels=LABELS)
    assert e.target[0] == {"index": [plus, minus], "label": f"{LABELS[plus]} - {LABELS[minus]}"}
    assert_explains(e, NET, lambda s, i: s[plus] - s[minus])


def product(scores: Any) -> Any:
    return scores[1] * scores[2] - scores[0]


def squared(scores: Any) -> Any:
    return scores[0] ** 2


def test_a_function_is_asked_of_each_image() -> None:
    (e,) = explained(asked()["classes"], product)
    assert e.target == [{"index": None, "label": "product"}] * 3
    assert_explains(e, NET, lambda s, i: s[1] * s[2] - s[0])


def test_several_targets_come_back_in_their_order() -> None:
    found = explained(asked()["classes"], ["top-2", product, 4, "dog - 0", squared], labels=LABELS)
    claims: list[Claim] = [
        lambda s, i: s[ranked(0)[i]],
        lambda s, i: s[ranked(1)[i]],
        lambda s, i: s[1] * s[2] - s[0],
        score_of(4),
        lambda s, i: s[1] - s[0],
        lambda s, i: s[0] ** 2,
    ]
    assert len(found) == len(claims)
    for e, claim in zip(found, claims):
        assert_explains(e, NET, claim)


def test_direction_of_one_of_several_outputs() -> None:
    up, down = explained(asked()["classes"], ["up:2", "down:3"])
    assert (up.target[0], down.target[0]) == (
        {"index": 2, "label": "class 2 up"},
        {"index": 3, "label": "class 3 down"},
    )
    assert_explains(up, NET, score_of(2))
    assert_explains(down, NET, lambda s, i: -s[3])


@pytest.mark.parametrize(
    ("target", "sign", "label"),
    [("up", 1, "up"), ("down", -1, "down"), ("up:0", 1, "up"), ("down:0", -1, "down"), ("top", 1, "up")],
)
def test_regression(target: str, sign: int, label: str) -> None:
    assert NUMBERS.min() < 0 < NUMBERS.max()  # "top" is "up" for a negative number too
    (e,) = explained(asked()["number"], target)
    assert e.target == [{"index": 0, "label": label}] * 3
    assert e.top == [[]] * 3
    assert_explains(e, ONE, lambda s, i: sign * s[0])
    (named,) = explained(asked()["number"], target, labels=["age"])
    assert named.target[0]["label"] == f"age {label}"


def test_one_label_of_a_sigmoid_is_refused() -> None:
    with pytest.raises(sl.InputError, match=r"one label was given, 'well'; .* one sigmoid.*\n.*\['no well', 'well'\]"):
        explained(asked()["binary"], "top", labels=["well"])


def test_a_class_without_a_name_is_found_by_what_it_is_called() -> None:
    (e,) = explained(asked()["binary"], "class 1")
    assert e.target[0] == {"index": 1, "label": "class 1"}


@pytest.mark.parametrize("labels", [None, ("ill", "well")])
def test_binary_sigmoid(labels: tuple[str, ...] | None) -> None:
    names = labels or ("class 0", "class 1")
    no, yes, top, second = explained(asked()["binary"], [0, 1, "top-2"], labels=labels)
    assert [e.target[0] for e in (no, yes)] == [{"index": i, "label": names[i]} for i in (0, 1)]
    assert_explains(no, ONE, lambda s, i: -s[0])
    assert_explains(yes, ONE, lambda s, i: s[0])
    assert [t["index"] for t in top.target] == [int(z > 0) for z in NUMBERS]
    assert_explains(top, ONE, lambda s, i: abs(s[0]))
    assert_explains(second, ONE, lambda s, i: -abs(s[0]))
    for first_two, z in zip(top.top, NUMBERS):
        sure = {c["index"]: c["probability"] for c in first_two}
        assert sure[1] == pytest.approx(1 / (1 + np.exp(-z)), rel=1e-9)
        assert sure[0] == pytest.approx(1 / (1 + np.exp(z)), rel=1e-9)
        assert first_two[0]["probability"] > first_two[1]["probability"]


def test_two_names_make_one_output_a_binary_classifier() -> None:
    (e,) = explained(asked()["number"], "ill", labels=("ill", "well"))
    assert_explains(e, ONE, lambda s, i: -s[0])


def test_a_softmax_is_left_out_and_gives_the_probabilities() -> None:
    (e,) = explained(asked()["softmax"], "top", top=2)
    assert e.head == "softmax"
    assert_explains(e, NET, lambda s, i: s[ranked(0)[i]])
    powers = np.exp(ANSWERS - ANSWERS.max(axis=1, keepdims=True))
    expected = powers / powers.sum(axis=1, keepdims=True)
    for i in range(3):
        assert [c["index"] for c in e.top[i]] == [ranked(0)[i], ranked(1)[i]]
        assert e.top[i][0]["probability"] == pytest.approx(expected[i, ranked(0)[i]], rel=1e-9)


def test_a_region_of_a_segmentation() -> None:
    upper, single = np.zeros((2, 12, 12), bool)
    upper[:4] = single[7, 2] = True
    first, second = explained(asked()["maps"], [sl.Region("dog", upper), sl.Region(3, single)], labels=LABELS)
    assert first.target[0] == {"index": 1, "label": "dog in a region of 48 cells", "cells": 48.0, "region": "mask"}
    assert_explains(first, MAPS, lambda s, i: s[:4, :, 1].sum())
    assert_explains(second, MAPS, lambda s, i: s[7, 2, 3])
    assert first.top == [[]] * 3


def test_where_the_shape_leaves_it_open_the_classes_are_where_the_model_s_channels_are() -> None:
    """Twelve classes in a grid of twelve by twelve."""
    rng = np.random.default_rng(5)
    net: paper.Net = [("conv", "conv1", rng.normal(size=(3, 3, 3, 12)), rng.normal(size=12))]
    mask = np.zeros((12, 12), bool)
    mask[:2, 5] = True
    (e,) = explained(build(net), sl.Region(6, mask))
    assert paper.scores(net, IMAGES[0]).shape == (12, 12, 12)
    assert_explains(e, net, lambda s, i: s[:2, 5, 6].sum())


def test_the_mask_of_a_region_may_be_the_framework_s_own() -> None:
    mask = np.zeros((12, 12))
    mask[3:5, 1] = 1
    own = sl.load(asked()["maps"]).model.array(mask)
    if "torch" in FRAMEWORK:
        own = own.requires_grad_()  # as little NumPy's as one on another device
    (e,) = explained(asked()["maps"], sl.Region(2, own))
    assert_explains(e, MAPS, lambda s, i: s[3:5, 1, 2].sum())


def test_a_region_where_the_model_says_a_class() -> None:
    said = [paper.scores(MAPS, image).argmax(axis=-1) == 1 for image in IMAGES]
    (e,) = explained(asked()["maps"], "region:dog", labels=LABELS)
    assert [t["cells"] for t in e.target] == [s.sum() for s in said]
    assert_explains(e, MAPS, lambda s, i: s[..., 1][said[i]].sum())


def test_a_cam_of_a_region_takes_the_last_layer_before_the_scores() -> None:
    e = sl.explain(asked()["maps"], as_input(IMAGES), method="grad-cam", target=sl.Region(1, np.ones((12, 12))))
    assert isinstance(e, sl.Explanation)
    assert e.layer == "relu1"
    assert e.attribution.max() > 0


def test_how_like_the_outputs_are_to_a_vector() -> None:
    v = np.array([1.0, -2.0, 0.5, 0.0, 3.0])
    e, top = explained(asked()["classes"], [sl.Similar(v), 2])
    assert_explains(e, NET, lambda s, i: s @ v / np.linalg.norm(s) / np.linalg.norm(v))
    assert_explains(top, NET, score_of(2))
    (same,) = explained(asked()["classes"], sl.Similar(as_input(IMAGES[:1])))
    assert same.score[0] == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("method", ["gradient", "occlusion", "grad-cam"])
def test_how_like_a_layer_s_value_is_to_that_of_another_picture(method: str) -> None:
    e = sl.explain(
        asked()["classes"], as_input(IMAGES), method=method, target=sl.Similar(as_input(IMAGES[1:2]), place="relu1")
    )
    assert isinstance(e, sl.Explanation)
    assert e.score[1] == pytest.approx(1, abs=1e-12)
    assert max(e.score[0], e.score[2]) < 0.999
    assert np.ptp(e.map[0]) > 0


def test_the_best_of_detections_in_every_framework() -> None:
    array = sl.load(asked()["maps"]).model.array
    rng = np.random.default_rng(0)
    corners = rng.random((2, 9, 2)) * 0.5
    rows = np.concatenate([corners, corners + 0.1 + 0.4 * rng.random((2, 9, 2)), rng.random((2, 9, 2))], axis=-1)
    rows[..., 4] = rng.integers(0, 3, (2, 9))
    rows[1, 5:] = 0
    aims = np.array([[[0.2, 0.2, 0.6, 0.7, c] for c in range(3)]] * 2)
    found = to_numpy(found_at(array(rows), array(aims)))
    for i in range(2):
        for c in range(3):
            fits = [0.0]
            for x0, y0, x1, y1, own, sure in rows[i]:
                both = max(0, min(x1, 0.6) - max(x0, 0.2)) * max(0, min(y1, 0.7) - max(y0, 0.2))
                fits.append(both / (0.2 + (x1 - x0) * (y1 - y0) - both) * sure * (own == c))
            assert found[c, i] == pytest.approx(max(fits), rel=1e-9, abs=1e-12)


def test_a_function_of_a_segmentation() -> None:
    def corner(scores: Any) -> Any:
        return scores[2, 0, 1] if FRAMEWORK == "torch" else scores[0, 1, 2]

    (e,) = explained(asked()["maps"], corner)
    assert_explains(e, MAPS, lambda s, i: s[0, 1, 2])


def fails(scores: Any) -> Any:
    raise ValueError("no such thing")


@pytest.mark.parametrize(
    ("model", "labels", "target", "given", "fix"),
    [
        ("classes", LABELS, 5, "class 5 was given; the model has classes 0 to 4", "Take one"),
        ("classes", LABELS, -1, "class -1 was given; the model has classes 0 to 4", "Take one"),
        ("classes", LABELS, "5", "class 5 was given; the model has classes 0 to 4", "Take one"),
        ("classes", LABELS, "7 - cat", "class 7 was given", "Take one"),
        ("classes", LABELS, "dgo", "class 'dgo' was given", "Did you mean 'dog'?"),
        ("classes", LABELS, "dgo - cat", "class 'dgo' was given", "Did you mean 'dog'?"),
        ("classes", None, "dog", "class 'dog' was given", "labels"),
        ("classes", ("a", "b", "a", "c", "A"), "a", "2 classes are called that: 0, 2", "index"),
        ("classes", ("x", "b", "a", "c", "A"), "X - B - q", "class 'B - q' was given", ""),
        ("classes", LABELS, "top-0", "at least one rank", "top-1"),
        ("classes", LABELS, "top-6", "5 classes to rank", "fewer"),
        ("classes", None, "up", "the model has 5 outputs", "up:4"),
        ("classes", None, "down:5", "the model has 5 outputs", "down:4"),
        ("classes", None, [], "an empty list of targets", "top"),
        ("classes", None, fails, "fails was given; it failed on one image's scores (5,): no such thing", "one number"),
        ("classes", None, lambda s: s, "it failed on one image's scores", "one number"),
        ("classes", None, sl.Region(0, np.ones((12, 12))), "a region of (12, 12)", "score for each place"),
        ("number", None, 1, "one output without a sigmoid", "'up' or 'down'"),
        ("number", None, "top-2", "1 classes to rank", "fewer"),
        ("number", None, "up:1", "the model has 1 outputs", "up:0"),
        ("binary", None, 2, "class 2 was given; the model has classes 0 to 1", "Take one"),
        ("binary", None, "top-3", "2 classes to rank", "fewer"),
        ("maps", None, "top", "a score for each place", "region:CLASS"),
        ("maps", None, 1, "a score for each place", "region:CLASS"),
        ("maps", None, "up:1", "a score for each place", "region:CLASS"),
        ("maps", LABELS, sl.Region("dgo", np.ones((12, 12))), "class 'dgo'", "Did you mean 'dog'?"),
        ("maps", LABELS, sl.Region(5, np.ones((12, 12))), "class 5", "Take one"),
        ("maps", LABELS, sl.Region(0, np.ones((3, 4))), "a region of (3, 4)", "height and width"),
    ],
)
def test_a_target_that_is_not_there(model: str, labels: Any, target: Any, given: str, fix: str) -> None:
    for method in ("gradient", "occlusion"):  # occlusion asks the outputs of the images first in another way
        with pytest.raises(sl.TargetError) as error:
            sl.explain(asked()[model], as_input(IMAGES), method=method, target=target, labels=labels)
        assert str(error.value).count("\n") == 1
        assert given in error.value.given
        assert fix in error.value.fix


@pytest.mark.parametrize("labels", [5, 0.5, {0: "cat"}, [1, 2]])
def test_labels_that_are_no_names(labels: Any) -> None:
    with pytest.raises(sl.InputError, match=rf"labels of type {type(labels).__name__} were given"):
        sl.load(asked()["classes"], labels=labels)


@pytest.mark.parametrize(("model", "labels"), [("classes", LABELS[:4]), ("number", LABELS), ("maps", LABELS[:2])])
def test_names_that_do_not_fit_the_outputs(model: str, labels: tuple[str, ...]) -> None:
    target = sl.Region(0, np.ones((12, 12))) if model == "maps" else "top"
    with pytest.raises(sl.InputError, match=rf"^{len(labels)} labels were given; .*\n.*$"):
        explained(asked()[model], target, labels=labels)
