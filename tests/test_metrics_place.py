"""Metrics that need the maps alone, or masks: against their twins, by hand, and where other libraries go wrong."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import paper_metrics_place as twin
import sightline  # noqa: F401  enters every metric
from sightline.alike import SIMILARITIES, alike
from sightline.metric import find_metric

FRAMEWORKS = ("none",)
RNG = np.random.default_rng(3)
SIGNED = RNG.normal(size=(3, 8, 9))
COARSE = RNG.integers(0, 4, (3, 8, 9)).astype(float)  # with many ties
MASKS = RNG.uniform(size=(3, 8, 9)) < 0.15
MASKS[0] = False
MASKS[0, 2:5, 3:6] = True


def values(name: str, maps: np.ndarray, masks: np.ndarray | None = None, **options: Any) -> np.ndarray:
    metric = find_metric(name)
    return metric.values({"maps": maps, "masks": masks}, dict(metric.params) | options)[0]


@pytest.mark.parametrize("maps", [SIGNED, COARSE], ids=["signed", "ties"])
@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("pointing-game", {"tolerance": 2.0}, lambda m, mask: twin.pointing_game(m, mask, 2)),
        ("pointing-game", {"tolerance": 0.0}, lambda m, mask: twin.pointing_game(m, mask, 0)),
        ("iou", {}, lambda m, mask: twin.iou(m, mask, 0.5 * m.max())),
        ("iou", {"share": 0.9}, lambda m, mask: twin.iou(m, mask, 0.9 * m.max())),
        ("iou", {"threshold": "best"}, twin.best_iou),
        ("localisation-auc", {}, twin.auc),
        ("complexity", {}, lambda m, mask: twin.complexity(m)),
        ("sparseness", {}, lambda m, mask: twin.gini(m)),
        ("energy-pointing-game", {}, lambda m, mask: m[mask & (m > 0)].sum() / m[m > 0].sum()),
    ],
    ids=str,
)
def test_metric_equals_its_twin(
    maps: np.ndarray, name: str, options: dict[str, Any], expected: Callable[[np.ndarray, np.ndarray], float]
) -> None:
    wanted = [expected(m, mask) for m, mask in zip(maps, MASKS)]
    np.testing.assert_allclose(values(name, maps, MASKS, **options), wanted, rtol=1e-12, atol=1e-14)


def test_the_first_pixels_count_as_in_the_mean_over_all_ways_to_break_their_ties() -> None:
    maps, masks = COARSE[:, :3, :5], np.random.default_rng(5).uniform(size=(3, 3, 5)) < 0.4
    counts = masks.sum(axis=(1, 2))
    assert (counts > 0).all()
    ranked = [twin.top_k(m, mask, int(k)) for m, mask, k in zip(maps, masks, counts)]
    np.testing.assert_allclose(values("relevance-rank-accuracy", maps, masks), ranked, rtol=1e-12)
    first = [twin.top_k(m, mask, 4) for m, mask in zip(maps, masks)]
    np.testing.assert_allclose(values("top-k-intersection", maps, masks, k=4), first, rtol=1e-12)
    assert len(set(ranked + first)) >= 5 and min(ranked + first) > 0


def test_metrics_of_place_by_hand() -> None:
    m = np.array([[[4.0, 3, 0, 0], [2, 1, 0, 0]]])
    mask = np.array([[[True, False, False, True], [True, False, False, False]]])
    assert values("pointing-game", m, mask, tolerance=0.0) == 1
    assert values("pointing-game", m[:, :, ::-1], ~mask[:, :, ::-1], tolerance=0.0) == 0
    assert values("pointing-game", m[:, :, ::-1], ~mask[:, :, ::-1], tolerance=1.0) == 1
    assert values("relevance-rank-accuracy", m, mask) == pytest.approx(2 / 3)  # 4, 3 and 2 come first
    assert values("top-k-intersection", m, mask, k=1) == 1
    assert values("top-k-intersection", m, mask) == pytest.approx(3 / 8)  # no more than there are
    assert values("iou", m, mask) == pytest.approx(2 / 4)  # 4, 3 and 2 of a half
    assert values("iou", m, mask, threshold="best") == pytest.approx(2 / 4)
    assert values("localisation-auc", m, mask) == pytest.approx((5 + 4 + 0.5 * 3) / 15)
    assert values("energy-pointing-game", m, mask) == pytest.approx(6 / 10)


def test_a_map_that_is_the_same_everywhere_gets_what_chance_gives() -> None:
    flat, share = np.ones((3, 8, 9)), MASKS.mean(axis=(1, 2))
    for name in ("relevance-rank-accuracy", "top-k-intersection", "energy-pointing-game"):
        np.testing.assert_allclose(values(name, flat, MASKS), share)
    np.testing.assert_allclose(values("pointing-game", flat, MASKS, tolerance=0.0), share)
    np.testing.assert_allclose(values("localisation-auc", flat, MASKS), 0.5)
    np.testing.assert_allclose(values("iou", flat, MASKS, threshold="best"), share)
    np.testing.assert_allclose(values("complexity", flat), math.log(72))
    np.testing.assert_allclose(values("sparseness", flat), 0, atol=1e-15)


def test_a_map_of_one_pixel_is_the_simplest() -> None:
    one = np.zeros((1, 8, 9))
    one[0, 3, 4] = -2
    assert values("complexity", one) == 0
    assert values("sparseness", one) == pytest.approx(1 - 1 / 72)


PLACES = ("pointing-game", "relevance-rank-accuracy", "top-k-intersection", "iou", "energy-pointing-game")


@pytest.mark.parametrize("name", [*PLACES, "localisation-auc"])
def test_an_empty_mask_has_no_answer(name: str) -> None:
    """Quantus 0.6 says that its pointing game hits an empty mask."""
    masks = np.stack([MASKS[0], np.zeros((8, 9), bool)])
    found = values(name, SIGNED[:2], masks)
    assert np.isfinite(found[0]) and np.isnan(found[1])


def test_a_mask_of_the_whole_picture() -> None:
    whole = np.ones((3, 8, 9), bool)
    for name in PLACES[:3]:
        assert (values(name, SIGNED, whole) == 1).all()
    assert np.isnan(values("localisation-auc", SIGNED, whole)).all()


@pytest.mark.parametrize("name", ["complexity", "sparseness"])
def test_signs_do_not_matter_to_complexity(name: str) -> None:
    """Quantus 0.6 takes the logarithm of negative values, and says NaN of signed maps."""
    np.testing.assert_array_equal(values(name, SIGNED), values(name, np.abs(SIGNED)))
    assert np.isfinite(values(name, SIGNED)).all()
    assert np.isnan(values(name, np.zeros((1, 8, 9)))).all()


@pytest.mark.parametrize("name", [*PLACES, "localisation-auc"])
def test_a_value_does_not_depend_on_the_other_images(name: str) -> None:
    """Quantus 0.6 weighs its attribution localisation by the size of a slice of the batch."""
    together = values(name, COARSE, MASKS)
    for i in range(3):
        np.testing.assert_array_equal(values(name, COARSE[i : i + 1], MASKS[i : i + 1]), together[i : i + 1])


def test_relevance_mass_accuracy_is_another_name() -> None:
    assert find_metric("relevance_mass_accuracy") is find_metric("energy-pointing-game")


def test_similarities_equal_their_twins() -> None:
    a, b = RNG.normal(size=(2, 12, 14)), RNG.normal(size=(2, 12, 14))
    b += 0.8 * a
    expected = {
        "spearman": twin.spearman,
        "spearman-absolute": lambda a, b: twin.spearman(np.abs(a), np.abs(b)),
        "ssim": twin.ssim,
        "hog": lambda a, b: twin.hog_correlation(a, b, 4),
    }
    assert set(expected) == set(SIMILARITIES)
    for name, of in expected.items():
        found = alike(name, a, b)
        np.testing.assert_allclose(found, [of(*pair) for pair in zip(a, b)], rtol=1e-10)
        np.testing.assert_allclose(alike(name, a, a), 1, rtol=1e-12)
        assert np.abs(found).max() < 0.95
    np.testing.assert_allclose(alike("ssim", a, b), [twin.library_ssim(*pair) for pair in zip(a, b)], rtol=1e-12)


def test_the_scale_of_a_map_does_not_matter_to_similarity_and_its_sign_does() -> None:
    a, b = np.abs(RNG.normal(size=(1, 12, 14))), np.abs(RNG.normal(size=(1, 12, 14)))
    for name in SIMILARITIES:
        np.testing.assert_allclose(alike(name, a, 7 * b), alike(name, a, b), rtol=1e-10)
    assert alike("spearman", a, -a) == pytest.approx(-1)
    assert alike("spearman-absolute", a, -a) == pytest.approx(1)


def test_a_map_without_ranks_has_no_similarity() -> None:
    lost = SIGNED.copy()
    lost[0, 0, 0] = np.nan
    for name in SIMILARITIES:
        assert np.isnan(alike(name, SIGNED, np.zeros_like(SIGNED))).all()
        assert np.isnan(alike(name, SIGNED, lost)).tolist() == [True, False, False]
