"""Perturbation methods where the answer is known: additive games, linear models, planted maps; and what they report."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import paper
import paper_masks
from nets import build, native, use_float64
from rows import BASELINE, CLASSES, IMAGES, NET, attribute
from sightline.errors import MethodError
from sightline.frameworks import adapt
from sightline.hiding import blocks
from sightline.method import find
from sightline.methods import _coalitions, _sampling, kernel_shap, lime, shapley_sampling, sobol
from sightline.methods._superpixels import superpixels
from sightline.methods.extremal_perturbation import _wanted
from sightline.methods.hsic import _dependence
from sightline.methods.xrai import _ranked, _regions
from sightline.params import settle_params

FRAMEWORKS = ("torch", "keras-tensorflow", "keras-jax", "keras-torch")
use_float64()

RNG = np.random.default_rng(3)
LINEAR: paper.Net = [
    ("conv", "conv", RNG.normal(size=(3, 3, 3, 6)), RNG.normal(size=6)),
    ("mean", "mean"),
    ("linear", "head", RNG.normal(size=(6, 5)), RNG.normal(size=5)),
]
B = {"baseline": BASELINE}


@pytest.fixture(scope="module")
def model() -> Any:
    return adapt(build(NET))


@pytest.fixture(scope="module")
def linear() -> Any:
    return adapt(build(LINEAR))


def evidence(i: int, c: int) -> np.ndarray:
    """What each pixel of an image adds to a score of the linear net, counted from the baseline."""
    return ((IMAGES[i] - BASELINE[i]) * paper.gradient(LINEAR, IMAGES[i], c)).sum(axis=2)


def of_segments(i: int, c: int, count: int) -> np.ndarray:
    """The same, summed over superpixels and painted."""
    labels = paper_masks.segments_of(IMAGES[i], count)
    return paper_masks.paint(np.bincount(labels.ravel(), weights=evidence(i, c).ravel()), labels)


def change(net: paper.Net, i: int, c: int) -> float:
    return float(paper.scores(net, IMAGES[i])[c] - paper.scores(net, BASELINE[i])[c])


ADDITIVE = {
    "superpixel-ablation": {},
    "kernel-shap": {"samples": 60},
    "shapley-sampling": {"samples": 2},
    "lime": {"samples": 60, "ridge": 0.0},
}


@pytest.mark.parametrize("name", ADDITIVE)
def test_superpixels_of_a_linear_model_get_exactly_what_they_add(linear: Any, name: str) -> None:
    found, checks = attribute(linear, name, segments=12, **ADDITIVE[name], **B)
    for k, c in enumerate(CLASSES):
        for i in range(len(IMAGES)):
            expected = of_segments(i, c, 12)
            np.testing.assert_allclose(found[k, i], expected, rtol=0, atol=1e-10 * np.abs(expected).max())
    assert checks.get("standard_error", np.zeros(1)).max() < 1e-9
    assert checks.get("fit", np.ones(1)).min() == pytest.approx(1, abs=1e-9)


def test_occlusion_of_a_linear_model_by_single_pixels_is_what_each_adds(linear: Any) -> None:
    found, _ = attribute(linear, "occlusion", window=1, stride=1, **B)
    np.testing.assert_allclose(found[0, 0], evidence(0, CLASSES[0]), rtol=0, atol=1e-11)


@pytest.mark.parametrize("name", ["kernel-shap", "shapley-sampling"])
def test_values_sum_exactly_to_the_change_of_the_score(model: Any, name: str) -> None:
    found, checks = attribute(model, name, segments=12, samples=3, **B)
    assert checks["standard_error"].min() > 0.01  # far from exact otherwise
    for k, c in enumerate(CLASSES):
        for i in range(len(IMAGES)):
            labels = paper_masks.segments_of(IMAGES[i], 12)
            values = [found[k, i][labels == j][0] for j in range(labels.max() + 1)]
            assert sum(values) == pytest.approx(change(NET, i, c), abs=1e-11)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8])
def test_kernel_shap_of_all_coalitions_gives_shapley_values(count: int) -> None:
    table = np.random.default_rng(count).normal(size=2**count)
    game = {frozenset(j for j in range(count) if s >> j & 1): table[s] for s in range(2**count)}
    z, weights = kernel_shap._design(count, 2**count, 0)
    assert len(z) == 2**count - 2
    none, whole = game[frozenset()], game[frozenset(range(count))]
    y = np.array([game[frozenset(np.flatnonzero(row).tolist())] - none for row in z]).reshape(-1, 1)
    found, errors, _ = kernel_shap._shapley(z, weights, y, np.array([whole - none]), True)
    expected = paper_masks.shapley_values(lambda s: game[frozenset(s)], count)
    np.testing.assert_allclose(found[0], expected, rtol=0, atol=1e-11)
    assert not errors.any()


def quadratic(z: np.ndarray) -> np.ndarray:
    """A game of six players with pairs: Shapley values are each player's own and half of its pairs'."""
    return z @ OWN + np.einsum("...i,ij,...j->...", z, PAIRS, z)


OWN = np.arange(6.0)
PAIRS = np.triu(np.random.default_rng(8).normal(size=(6, 6)), 1)
VALUES = OWN + (PAIRS.sum(axis=0) + PAIRS.sum(axis=1)) / 2


def test_coalitions_of_few_superpixels_come_in_pairs_of_which_any_few_have_every_superpixel() -> None:
    """So that what stops early has not seen only those of the first superpixels."""
    z, weights = kernel_shap._design(8, 1000, 0)
    assert len(np.unique(z, axis=0)) == len(z) == len(weights) == 254
    assert (z[::2] == ~z[1::2]).all()
    values, error, _ = kernel_shap._shapley(
        z[:125], weights[:125], (z[:125, 6:7] & z[:125, 7:]) * 1.0, np.ones(1), False
    )
    assert np.abs(values[0] - np.eye(8)[6] / 2 - np.eye(8)[7] / 2).max() < 0.2
    assert error.max() > 0


def test_sampled_kernel_shap_is_within_three_of_its_standard_errors() -> None:
    inside = []
    for seed in range(20):
        z, weights = kernel_shap._design(6, 60, seed)
        game = (
            quadratic(z.astype(float)) + z[:, 0] * z[:, 1] * z[:, 2] * 5
        )  # of third order: pairs alone do not tell it
        total = quadratic(np.ones(6)) + 5
        found, errors, _ = kernel_shap._shapley(z, weights, game[:, None], np.array([total]), False)
        expected = VALUES + np.array([5 / 3] * 3 + [0] * 3)
        assert found.sum() == pytest.approx(total, abs=1e-10)
        inside += (np.abs(found[0] - expected) <= 3 * errors[0] + 1e-12).tolist()
    assert np.mean(inside) > 0.95


def test_pairs_make_kernel_shap_exact_for_games_of_second_order() -> None:
    z, weights = kernel_shap._design(6, 40, 1)
    assert (z[::2] == ~z[1::2]).all()
    total = np.array([quadratic(np.ones(6))])
    found, errors, _ = kernel_shap._shapley(z, weights, quadratic(z.astype(float))[:, None], total, False)
    np.testing.assert_allclose(found[0], VALUES, rtol=0, atol=1e-10)
    assert errors.max() < 1e-10


def test_an_order_of_superpixels_is_a_permutation_of_its_own_draw() -> None:
    orders = [shapley_sampling._order(5, k, 9).tolist() for k in range(4)]
    assert all(sorted(order) == list(range(9)) for order in orders)
    assert len({tuple(order) for order in orders}) == 4
    assert orders[2] == shapley_sampling._order(5, 2, 9).tolist()


def test_lime_weighs_a_coalition_by_its_angle_to_the_image() -> None:
    z = np.array([[1, 1, 1, 1], [1, 0, 0, 0], [0, 0, 0, 0]], float)
    np.testing.assert_allclose(lime._closeness(z, 0.5), np.exp(-(np.array([0, 0.5, 1]) ** 2) / 0.25), rtol=1e-14)


def test_lime_says_how_badly_a_linear_model_fits() -> None:
    z = lime._draws(4, 200, 0).astype(float)
    parity = np.prod(1 - 2 * z, axis=1)[:, None]  # no superpixel tells it alone
    found, errors, more = lime._ridge(z, np.ones(200), np.concatenate([parity, z @ OWN[:4, None]], axis=1), 0.0)
    assert more["fit"][0] < 0.1
    assert more["fit"][1] == pytest.approx(1, abs=1e-12)
    assert (np.abs(found[0]) < 3 * errors[0]).all()
    np.testing.assert_allclose(found[1], OWN[:4], atol=1e-12)


def test_rise_of_a_linear_model_is_within_three_standard_errors_of_its_expectation(linear: Any) -> None:
    """E[f(masked) | the pixel is kept] - E[f(masked)], by the covariance of masks over all shifts and all grids."""
    cells, keep, size = 3, 0.5, (12, 12)
    found, checks = attribute(linear, "rise", cells=cells, keep=keep, samples=1500, random_state=1, **B)
    shares = []  # of each cell in each pixel, for every shift
    for down, right in np.ndindex(4, 4):
        for j in range(cells * cells):
            one = np.eye(cells * cells)[j].reshape(cells, cells)
            shares.append(paper.bilinear(one, (16, 16))[down : down + 12, right : right + 12].ravel())
    shares = np.array(shares).reshape(16, cells * cells, 144)
    both = keep**2 + keep * (1 - keep) * np.einsum("sjp,sjq->pq", shares, shares) / 16  # E[M(p) M(q)]
    for k, c in enumerate(CLASSES):
        own = evidence(0, c).ravel()
        expected = (both @ own / keep - keep * own.sum()).reshape(size)
        error = checks["standard_error"][k, 0] * np.ptp(found[k, 0])
        gap = np.abs(found[k, 0] - expected).mean()
        assert 0.05 * error < gap < 3 * error


def test_each_mask_of_rise_has_a_shift_of_its_own_and_the_right_mean() -> None:
    from sightline.methods.rise import _masks

    options: dict[str, Any] = {
        "x": np.zeros((1, 12, 12, 3)),
        "size": (12, 12),
        "cells": 3,
        "keep": 0.4,
        "random_state": 7,
    }
    masks = _masks(list(range(3000)), **options)[:, 0]
    assert 0 <= masks.min() < 0.01
    np.testing.assert_allclose(masks.mean(axis=0), 0.4, atol=0.04)
    again = _masks([2, 17], **options)[:, 0]
    np.testing.assert_allclose(again, masks[[2, 17]], rtol=0, atol=1e-15)  # of (random_state, k) alone
    grid = (np.random.default_rng([7, 17]).random((3, 3)) < 0.4).astype(float)
    large = paper.bilinear(grid, (16, 16))
    shifts = [s for s in np.ndindex(4, 4) if np.allclose(large[s[0] : s[0] + 12, s[1] : s[1] + 12], masks[17])]
    assert len(shifts) == 1


def test_sobol_indices_of_a_known_function() -> None:
    """The g-function of Sobol: the share of a coordinate in closed form."""
    a = np.array([0.0, 1.0, 4.5, 99.0])
    points = sobol._sequence(8, 4096, 0)

    def g(x: np.ndarray) -> np.ndarray:
        return np.prod((np.abs(4 * x - 2) + a) / (1 + a), axis=-1)

    played = np.stack([g(np.array([sobol._point(points, j, i) for j in range(4096)])) for i in range(5)], axis=1)
    index, error = sobol._jansen(played)
    part = 1 / (3 * (1 + a) ** 2)
    expected = part * np.array([np.prod(1 + np.delete(part, i)) for i in range(4)]) / (np.prod(1 + part) - 1)
    assert (np.abs(index - expected) < 3 * error).all()
    np.testing.assert_allclose(index, expected, atol=0.02)


def test_sobol_and_hsic_of_a_net_that_sees_one_corner(model: Any) -> None:
    """Where image and baseline are alike nothing can matter: Sobol is zero there, HSIC what chance makes."""
    baseline = IMAGES.copy()
    baseline[:, :6, :6] = BASELINE[:, :6, :6]
    found, _ = attribute(model, "sobol", cells=4, samples=8, baseline=baseline)
    assert found[:, :, :2, :2].min() > 0.005
    assert found[:, :, 2:].max() < 1e-20
    assert found[:, :, :, 2:].max() < 1e-20
    found, _ = attribute(model, "hsic", cells=4, samples=300, baseline=baseline)
    ignored = np.concatenate([found[:, :, 2:].ravel(), found[:, :, :2, 2:].ravel()])
    assert ignored.max() < 0.2 * found.max()
    assert ignored.mean() < 3 * 0.5 / 300  # E[HSIC] = E[k(m, m)] E[l(y, y)] / samples at most, both centred


def test_hsic_is_zero_for_what_never_changes_and_largest_for_what_decides() -> None:
    masks = np.array([[i >> j & 1 for j in range(3)] for i in range(8)] * 4, float)  # every combination alike often
    found, errors = _dependence(masks, 2 * masks[:, 0])
    assert found[0] > 0.1
    np.testing.assert_allclose(found[1:], 0, atol=1e-15)
    flat, _ = _dependence(masks, np.full(32, 3.0))
    assert not flat.any()
    assert np.isfinite(errors).all()


def test_blocks_are_as_alike_as_the_pixels_allow() -> None:
    cells = blocks(np.arange(9.0).reshape(3, 3), (12, 7), np.zeros(1))
    assert np.unique(cells, return_counts=True)[1].tolist() == [12, 8, 8] * 3


def test_meaningful_perturbation_goes_down(model: Any) -> None:
    first, few = attribute(model, "meaningful-perturbation", cells=5, steps=1, **B)
    masks, many = attribute(model, "meaningful-perturbation", cells=5, steps=40, **B)
    assert (many["objective"] < few["objective"]).all()
    assert (many["left"] < 1).all()
    assert masks.min() >= 0
    assert masks.max() <= 1
    game = paper_masks.Optimised(NET, IMAGES[1], CLASSES[0], BASELINE[1])
    kept = 1 - masks[0, 1]
    assert many["left"][0, 1] == pytest.approx(game.share(kept), abs=1e-10)
    cost = 1e-3 * masks[0, 1].sum() + 1e-3 * paper_masks.roughness(kept)
    assert many["objective"][0, 1] == pytest.approx(max(game.share(kept), 0) + cost, abs=1e-10)
    assert first.max() <= 0.1 + 1e-12  # Adam's first step is at most the rate


@pytest.mark.parametrize("name", ["meaningful-perturbation", "extremal-perturbation"])
def test_each_step_of_a_mask_asks_for_the_gradient_of_its_own_target_alone(model: Any, name: str) -> None:
    asked = []

    class Counting:
        def __getattr__(self, attribute: str) -> Any:
            return getattr(model, attribute)

        def run(self, x: Any, **options: Any) -> Any:
            trace = model.run(x, **options)
            asked.extend(len(grads) for grads in trace.grads.values())
            return trace

    attribute(Counting(), name, cells=5, steps=3, **B)
    assert asked == [1] * (len(CLASSES) * 4)


@pytest.mark.parametrize("area", [0.15, 0.4])
def test_the_extremal_mask_keeps_its_area(model: Any, area: float) -> None:
    masks, checks = attribute(model, "extremal-perturbation", cells=10, steps=150, area=area, **B)
    np.testing.assert_allclose(masks.mean(axis=(2, 3)), checks["area"], atol=1e-12)
    np.testing.assert_allclose(checks["area"], area, atol=0.1)  # bumps have soft edges, wide ones on so small a grid
    game = paper_masks.Optimised(NET, IMAGES[0], CLASSES[1], BASELINE[0])
    assert checks["kept"][1, 0] == pytest.approx(game.share(masks[1, 0]), abs=1e-10)
    everywhere = [game.share(np.full((10, 10), area))]
    assert checks["kept"][1, 0] > max(everywhere)  # a region chosen beats the same area spread thin


def test_the_reference_of_the_area_is_shared_by_like_values() -> None:
    found = _wanted(np.array([[[[0.1, 0.9], [0.5, 0.5]]]]), 0.5)
    assert found.tolist() == [[[[0, 1], [0.5, 0.5]]]]
    assert _wanted(np.zeros((1, 1, 5, 5)), 0.2).ravel() == pytest.approx(np.full(25, 0.2))


def test_xrai_ranks_planted_regions() -> None:
    """Three flat squares on a flat ground: each pixel gets its own region's mean, the strongest first."""
    image, planted = np.zeros((60, 60, 3)), np.zeros((60, 60))
    for k, (top, left) in enumerate([(5, 5), (5, 35), (35, 5)]):
        square = (slice(top, top + 20), slice(left, left + 20))
        image[square], planted[square] = (k + 1) / 3, k + 1.0
    found = _ranked(planted, _regions(image))
    assert found[45, 15] > found[15, 45] > found[15, 15] > found[50, 50]
    assert found[45, 15] == pytest.approx(3, rel=0.2)
    assert found.sum() == pytest.approx(planted.sum())  # nothing is lost


# --- samples, errors, tolerance ---------------------------------------------------------------------------------------

SAMPLED = ("rise", "lime", "kernel-shap", "shapley-sampling", "sobol", "hsic")
SMALL = {"cells": 3, "segments": 12}


def options(name: str, **more: Any) -> dict[str, Any]:
    return {key: value for key, value in SMALL.items() if key in find(name).params} | B | more


@pytest.mark.parametrize("name", SAMPLED)
def test_each_image_and_target_stops_by_itself(model: Any, name: str) -> None:
    samples = {"sobol": 16, "shapley-sampling": 16}.get(name, 64)
    whole, checks = attribute(model, name, **options(name, samples=samples))
    assert (checks["samples"] == samples).all()
    assert (checks["standard_error"] > 0).all()
    tolerance = float(np.median(checks["standard_error"])) * 1.5
    found, stopped = attribute(model, name, **options(name, samples=samples, tolerance=tolerance))
    early = stopped["samples"] < samples
    assert early.any()
    assert (stopped["standard_error"][early] <= tolerance).all()
    for k, i in np.ndindex(*early.shape):
        if not early[k, i]:
            np.testing.assert_allclose(found[k, i], whole[k, i], rtol=0, atol=1e-9 * np.abs(whole).max())
    k, i = np.argwhere(early)[0]
    if name not in ("lime", "sobol"):  # LIME counts the image itself, Sobol must not be cut off a power of two
        alone, _ = attribute(model, name, **options(name, samples=int(stopped["samples"][k, i])))
        np.testing.assert_allclose(found[k, i], alone[k, i], rtol=0, atol=1e-9 * np.abs(alone).max())


def test_settling_does_not_hang_on_neighbours() -> None:
    x = np.zeros(1)
    maps = [np.array([[[0.0, 1.0 + r], [0.0, 10.0 + r]]]) for r in range(3)]
    errors = [np.array([[[e, e], [f, f]]]) for e, f in ((0.1, 5.0), (0.2, 5.0), (0.3, 0.1))]
    rounds = [(r + 1, m, e, {"fit": np.array([[r, r]])}) for r, (m, e) in enumerate(zip(maps, errors))]
    found, checks = _sampling.settled(iter(rounds), 0.15, x)
    assert found.tolist() == [[[0, 1], [0, 12]]]
    assert checks["samples"].tolist() == [[1, 3]]
    assert checks["fit"].tolist() == [[0, 2]]
    assert checks["standard_error"][0] == pytest.approx([0.1, 0.1 / 12])


def test_the_error_of_a_fit_without_freedom_is_infinite() -> None:
    assert np.isinf(_coalitions.widened(np.zeros(3), 4, 4)).all()
    assert _coalitions.widened(np.ones(1), 8, 4)[0] == pytest.approx(np.sqrt(2))


def test_masks_are_made_for_one_pass_at_a_time(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from sightline.methods import rise

    made: list[int] = []
    plain = rise._masks
    monkeypatch.setattr(rise, "_masks", lambda some, **more: made.append(len(some)) or plain(some, **more))
    attribute(replace(model, chunk=6), "rise", samples=32, cells=3, **B)
    assert made == [3] * 10 + [2]


# --- superpixels and options ------------------------------------------------------------------------------------------


def test_superpixels_are_each_images_own_and_do_not_hang_on_its_scale(model: Any) -> None:
    flat = np.full((1, 12, 12, 3), 0.7)
    x = native(np.concatenate([IMAGES, 40 * IMAGES[:1] - 7, flat]), model)
    for kind in ("slic", "felzenszwalb"):
        labels = superpixels(x, model.channel, kind, 9)
        for i in range(2):
            assert np.array_equal(labels[i], paper_masks.segments_of(IMAGES[i], 9, kind))
        assert np.array_equal(labels[0], labels[2])
        assert labels[3].max() < 9
    assert np.bincount(superpixels(x, model.channel, "felzenszwalb", 9)[0].ravel()).min() >= 16


@pytest.mark.parametrize(("given", "expected"), [("5x9", (5, 9)), ("5X9", (5, 9)), ((5, 9), (5, 9)), ("7", 7), (7, 7)])
def test_a_window_may_have_two_sides(given: Any, expected: Any) -> None:
    assert settle_params(find("occlusion"), {"window": given})["window"] == expected


def test_a_step_longer_than_the_window_is_refused(model: Any) -> None:
    with pytest.raises(MethodError, match=r"^stride=\(5, 5\) was given for a window of \(2, 2\); .*\n"):
        attribute(model, "occlusion", window=2, stride=5, **B)


@pytest.mark.parametrize("given", ["5x", "1x2x3", "0x4", (2, 2.5), []])
def test_no_other_window(given: Any) -> None:
    with pytest.raises(MethodError, match="window="):
        settle_params(find("occlusion"), {"window": given})


@pytest.mark.parametrize(("name", "option"), [("rise", "keep"), ("extremal-perturbation", "area")])
def test_a_share_lies_between_0_and_1(model: Any, name: str, option: str) -> None:
    for value in (0.0, 1.0, 1.5):
        with pytest.raises(MethodError, match=f"{option}="):
            attribute(model, name, **{option: value}, **B)


def test_what_has_no_height_and_width_is_refused(model: Any) -> None:
    x = model.array(np.zeros((2, 7)))
    for name in (*SAMPLED, "superpixel-ablation", "occlusion", "meaningful-perturbation", "xrai"):
        with pytest.raises(MethodError, match="needs height, width and channels"):
            find(name).attribute(model, x, None, baseline=x)


def test_a_layer_can_be_perturbed_too(model: Any) -> None:
    import sightline as sl

    e = sl.explain(
        build(NET), native(IMAGES[:1], model), method="shapley-sampling", layer="relu2", segments=4, samples=2
    )
    assert np.abs(e.map).max() > 0
