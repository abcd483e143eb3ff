"""Metrics that ask for other maps, or other scores: against their twins, in every framework."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

import paper
import paper_metrics_place as twin
import sightline as sl
from asked import IMAGES, NET, as_input, asked

FRAMEWORKS = ("torch", "keras-tensorflow", "keras-jax", "keras-torch")
TOP = [int(paper.scores(NET, image).argmax()) for image in IMAGES]
FEW = {"radius": 0.3, "samples": 4, "random_state": 5}


def measured(metric: str, kind: str = "classes", images: np.ndarray = IMAGES, **options: Any) -> np.ndarray:
    how = {key: options.pop(key) for key in ("method", "target") if key in options}
    (found,) = sl.measure(asked()[kind], as_input(images), metric={metric: options}, **({"method": "gradient"} | how))
    return found.values


def reduced(image: np.ndarray, c: int) -> np.ndarray:
    """The gradient's map: the largest absolute value over the channels."""
    return np.abs(paper.gradient(NET, image, c)).max(axis=2)


def own_noise(image: np.ndarray) -> list[np.ndarray]:
    """The draws are those of an image in the model's own layout."""
    there = as_input(image[None])[0].shape
    drawn = twin.draws(there, 0.3, 4, 5)
    return [np.moveaxis(d, 0, -1) if there != image.shape else d for d in drawn]


@pytest.mark.parametrize("name", ["max-sensitivity", "average-sensitivity", "local-lipschitz"])
def test_robustness_equals_its_twin(name: str) -> None:
    expected = []
    for image, c in zip(IMAGES, TOP):
        explain = partial(reduced, c=c)
        far = twin.sensitivity(explain, image, own_noise(image))
        steep = twin.lipschitz(explain, image, own_noise(image))
        expected.append({"max-sensitivity": max(far), "average-sensitivity": float(np.mean(far))}.get(name, steep))
    np.testing.assert_allclose(measured(name, **FEW), expected, rtol=1e-6)  # maps are float32
    assert len(set(np.round(expected, 3))) == 3


def test_a_map_that_never_changes_is_robust_and_one_of_zeros_has_no_answer() -> None:
    assert (measured("max-sensitivity", method="gaussian") == 0).all()
    silent = measured("max-sensitivity", target=lambda scores: 0 * scores[0], **FEW)
    assert np.isnan(silent).all()
    assert (measured("local-lipschitz", target=lambda scores: 0 * scores[0], **FEW) == 0).all()


@pytest.mark.parametrize("name", ["max-sensitivity", "average-sensitivity", "local-lipschitz", "random-logit"])
def test_a_value_does_not_depend_on_the_other_images(name: str) -> None:
    options = {} if name == "random-logit" else FEW
    together = measured(name, **options)
    for i in range(3):
        np.testing.assert_allclose(measured(name, images=IMAGES[i : i + 1], **options), together[i : i + 1], rtol=1e-6)


@pytest.mark.parametrize("similarity", ["ssim", "spearman"])
def test_random_logit_compares_with_another_class(similarity: str) -> None:
    compare = {"ssim": twin.ssim, "spearman": twin.spearman}[similarity]
    others = []
    for state in range(6):
        step = int(np.random.default_rng(state).integers(1, 5))
        others.append(step)
        maps = [[reduced(image, k) for k in (c, (c + step) % 5)] for image, c in zip(IMAGES, TOP)]
        found = measured("random-logit", similarity=similarity, random_state=state)
        np.testing.assert_allclose(found, [compare(*both) for both in maps], rtol=1e-4)
        assert (found < 0.999).all()
    assert len(set(others)) > 1 and min(others) > 0


def test_random_logit_of_a_binary_classifier_takes_the_other_class() -> None:
    """Their scores are z and -z: gradients of the other sign, and the same absolute values."""
    assert measured("random-logit", "binary", similarity="spearman") == pytest.approx(1)
    signed = measured("random-logit", "binary", similarity="spearman", method="input-x-gradient")
    assert signed == pytest.approx(-1)


@pytest.mark.parametrize(("kind", "target"), [("number", "top"), ("classes", "1 - 2")])
def test_random_logit_needs_a_class(kind: str, target: str) -> None:
    with pytest.raises(sl.MethodError, match="no single class"):
        measured("random-logit", kind, target=target)


def test_effective_complexity_is_the_first_share_that_is_enough() -> None:
    found = measured("effective-complexity", tolerance=0.05, steps=9, fill=0, scored="logit", ties="first")
    for value, image, c in zip(found, IMAGES, TOP):
        order = np.argsort(-reduced(image, c).astype(np.float32).ravel(), kind="stable")
        whole = paper.scores(NET, image)[c]
        for count in np.rint(np.linspace(0, 144, 10)).astype(int):
            kept = np.zeros(144, bool)
            kept[order[:count]] = True
            if abs(paper.scores(NET, image * kept.reshape(12, 12, 1))[c] - whole) <= 0.05:
                break
        assert value == pytest.approx(count / 144)
    assert (found > 0).all()
    assert (measured("effective-complexity", tolerance=1e9, scored="logit") == 0).all()
    assert (measured("effective-complexity", tolerance=0.0, steps=9, scored="logit") == 1).all()
