"""Metrics of faithfulness: against their twins, by hand, and on linear models, whose exact attribution is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

import paper_metrics as twin
import sightline as sl
from numpy_nets import NumpyModel, curved, given, linear, measured, with_curves
from sightline.baselines import baseline_for
from sightline.measuring import _pixels
from sightline.methods._superpixels import superpixels
from sightline.metric import METRICS
from sightline.metrics._imputation import imputed
from sightline.metrics._information import SHARES, size_in_bytes
from sightline.scores import Highest

FRAMEWORKS = ("none",)
RNG = np.random.default_rng(1)
SIZE = (10, 11)
X = gaussian_filter(RNG.normal(size=(3, *SIZE, 3)), (0, 1, 1, 0)) + RNG.normal(size=(3, 1, 1, 3))
MAPS = RNG.normal(size=(3, *SIZE))
COARSE = RNG.integers(-1, 3, size=(3, *SIZE)).astype(float)  # with many ties
NET = curved((*SIZE, 3), 4, 0)
MODEL = NumpyModel(NET)
CLASSES = NET(X).argmax(axis=1)
FAITHFULNESS = sorted(name for name, m in METRICS.items() if m.family == "faithfulness")


def logit(i: int) -> twin.Score:
    return lambda image: float(NET(image[None])[0, CLASSES[i]])


def probability(i: int) -> twin.Score:
    def score(image: np.ndarray) -> float:
        powers = np.exp(NET(image[None])[0])
        return float(powers[CLASSES[i]] / powers.sum())

    return score


def filled(spec: Any) -> np.ndarray:
    return np.asarray(baseline_for(spec, X, -1, None, 0))


def subset(k: int, cells: tuple[int, int], share: float) -> np.ndarray:
    """The draws of μ-fidelity, as cells of the picture."""
    count = cells[0] * cells[1]
    chosen = (np.random.default_rng([0, k]).permutation(count) < round(share * count)).reshape(cells)
    mask = np.zeros(SIZE, bool)
    for i, j in np.ndindex(*SIZE):
        mask[i, j] = chosen[i * cells[0] // SIZE[0], j * cells[1] // SIZE[1]]
    return mask


def square(k: int, length: int) -> np.ndarray:
    """The draws of infidelity's squares."""
    draw = np.random.default_rng([0, k])
    top, left = (int(draw.integers(0, side - length + 1)) for side in SIZE)
    mask = np.zeros(SIZE, bool)
    mask[top : top + length, left : left + length] = True
    return mask


Twin = Callable[[int, np.ndarray], float]
TWINS: dict[str, tuple[str, dict[str, Any], Twin]] = {
    "deletion": (
        "deletion",
        {"steps": 7, "fill": "black", "ties": "first"},
        lambda i, m: twin.trapezoids(twin.removal(probability(i), X[i], filled("black")[i], m, 7)),
    ),
    "insertion": (
        "insertion",
        {"steps": 7, "fill": "blurred-11x11", "ties": "first"},
        lambda i, m: twin.trapezoids(twin.addition(probability(i), X[i], filled("blurred-11x11")[i], m, 7)),
    ),
    "pixel-flipping": (
        "pixel-flipping",
        {"steps": 8, "ties": "first"},
        lambda i, m: twin.relative_fall(twin.removal(logit(i), X[i], filled("mean")[i], m, 8)),
    ),
    "region-perturbation": (
        "region-perturbation",
        {"side": 3, "steps": 9, "ties": "first"},
        lambda i, m: twin.region_perturbation(logit(i), X[i], filled("noise")[i], m, 3, 9),
    ),
    "irof": (
        "irof",
        {"segments": 12, "ties": "first"},
        lambda i, m: twin.irof(probability(i), X[i], filled("mean")[i], m, superpixels(X, -1, "slic", 12)[i]),
    ),
    "road": (
        "road",
        {"steps": 4, "noise": 0.3, "ties": "first"},
        lambda i, m: twin.road(probability(i), X[i], m, 4, [0.3 * np.moveaxis(road_noise(k), 0, -1) for k in range(4)]),
    ),
    "mu-fidelity": (
        "mu-fidelity",
        {"samples": 20, "cells": 4},
        lambda i, m: twin.mu_fidelity(
            logit(i), X[i], filled("mean")[i], m, [subset(k, (4, 4), 0.2) for k in range(20)], True
        ),
    ),
    "mu-fidelity of pixels": (
        "mu-fidelity",
        {"samples": 20, "cells": None, "correlation": "pearson", "scored": "probability", "share": 0.4},
        lambda i, m: twin.mu_fidelity(
            probability(i), X[i], filled("mean")[i], m, [subset(k, SIZE, 0.4) for k in range(20)], False
        ),
    ),
    "infidelity": (
        "infidelity",
        {"samples": 15, "side": 0.4, "fill": 7},  # far from every value, so that the slope is defined
        lambda i, m: twin.infidelity(
            logit(i),
            X[i],
            m[..., None] / 3 / (X[i] - 7),
            [square(k, 4)[..., None] * (X[i] - 7) for k in range(15)],
            True,
        ),
    ),
    "infidelity as given, of slopes": (
        "infidelity",
        {"samples": 15, "units": "local", "perturbation": "noise", "noise": 0.4, "scaled": "as-given"},
        lambda i, m: twin.infidelity(
            logit(i),
            X[i],
            np.repeat(m[..., None] / 3, 3, axis=2),
            [0.4 * np.random.default_rng([0, k]).normal(size=(*SIZE, 3)) for k in range(15)],
            False,
        ),
    ),
    "completeness": (
        "completeness",
        {"fill": "white"},
        lambda i, m: twin.completeness(logit(i), X[i], filled("white")[i], np.repeat(m[..., None] / 3, 3, axis=2)),
    ),
    "adcc": (
        "adcc",
        {"fill": "mean"},
        lambda i, m: twin.adcc(probability(i), X[i], filled("mean")[i], m, lambda image: np.abs(image).sum(axis=2)),
    ),
    "pic-sic": (
        "pic-sic",
        {"ties": "first", "compression": "png"},
        lambda i, m: twin.information(
            probability(i), X[i], filled("blurred")[i], m, SHARES, lambda p: told(i, p, "png")
        ),
    ),
    "pic-aic": (
        "pic-aic",
        {"ties": "first", "fill": "white"},
        lambda i, m: twin.information(
            lambda image: float(NET(image[None])[0].argmax() == CLASSES[i]),
            X[i],
            filled("white")[i],
            m,
            SHARES,
            lambda p: told(i, p, "webp"),
        ),
    ),
    **{
        f"{name}, {masking}": (
            name,
            {"masking": masking, "ties": "first", "fill": "mean"},
            lambda i, m, name=name, masking=masking: getattr(twin, name.replace("-", "_"))(
                probability(i)(X[i]),
                probability(i)(twin.masked(X[i], filled("mean")[i], twin.shown(m, masking))),
            ),
        )
        for name in ("average-drop", "average-increase", "average-gain")
        for masking in ("multiplied", "top-half")
    },
}


def road_noise(k: int) -> np.ndarray:
    return np.random.default_rng([0, k]).normal(size=(3, *SIZE))


def told(i: int, part: np.ndarray, compression: Any) -> int:
    low, high = X[i].min(), X[i].max()
    return size_in_bytes(np.rint((part - low).clip(0, high - low) / (high - low) * 255).astype(np.uint8), compression)


@pytest.mark.parametrize("maps", [MAPS, COARSE], ids=["maps", "ties"])
@pytest.mark.parametrize("case", TWINS)
def test_metric_equals_its_twin(case: str, maps: np.ndarray) -> None:
    name, options, expected = TWINS[case]
    wanted = [expected(i, m) for i, m in enumerate(maps)]
    tolerance = 1e-3 if name == "road" else 1e-9  # the imputation is solved to 1e-4 of the image's range
    np.testing.assert_allclose(
        measured(name, given(MODEL, X, maps), **options), wanted, rtol=tolerance, atol=tolerance / 10
    )


def test_every_metric_of_faithfulness_has_a_twin() -> None:
    assert {name for name, _, _ in TWINS.values()} == set(FAITHFULNESS)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("size", [(16, 16), (13, 22), (3, 5), (1, 9)])
@pytest.mark.parametrize("kind", ["scattered", "one hole"])
def test_imputation_equals_the_direct_solution(share: float, size: tuple[int, int], kind: str) -> None:
    rng = np.random.default_rng(5)
    image = rng.normal(size=(*size, 2))
    m = rng.normal(size=size) if kind == "scattered" else -np.hypot(*np.meshgrid(*map(np.arange, size), indexing="ij"))
    missing = np.zeros(size, bool)
    for place in twin.order(m)[: int(share * m.size)]:
        missing[place] = True
    found = np.moveaxis(imputed(np.moveaxis(image, -1, 0), missing), 0, -1)
    np.testing.assert_allclose(found, twin.imputed(image, missing), rtol=0, atol=1e-6)
    assert np.array_equal(found[~missing], image[~missing])


def test_imputation_of_a_plain_picture_is_plain() -> None:
    missing = np.random.default_rng(0).random((8, 8)) < 0.6
    assert np.array_equal(imputed(np.full((1, 8, 8), 3.5), missing), np.full((1, 8, 8), 3.5))


def test_imputation_of_a_large_picture_equals_the_sparse_solution() -> None:
    """The system of Rong et al. once more, as a sparse matrix."""
    from scipy.sparse import coo_array
    from scipy.sparse.linalg import spsolve

    rng = np.random.default_rng(2)
    image, size = gaussian_filter(rng.normal(size=(96, 90)), 2), (96, 90)
    missing = gaussian_filter(rng.normal(size=size), 9) < 0.05
    number = np.cumsum(missing).reshape(size) - 1
    entries: list[tuple[float, int, int]] = []
    right = np.zeros(missing.sum())
    for i, j in np.argwhere(missing):
        for di, dj in ((a, b) for a in (-1, 0, 1) for b in (-1, 0, 1) if (a, b) != (0, 0)):
            p, weight = (i + di, j + dj), 1 / 6 if 0 in (di, dj) else 1 / 12
            if not (0 <= p[0] < size[0] and 0 <= p[1] < size[1]):
                continue
            entries.append((weight, number[i, j], number[i, j]))
            if missing[p]:
                entries.append((-weight, number[i, j], number[p]))
            else:
                right[number[i, j]] += weight * image[p]
    values, rows, columns = zip(*entries)
    expected = spsolve(coo_array((values, (rows, columns))).tocsc(), right)
    assert np.abs(imputed(image[None], missing)[0][missing] - expected).max() < 1e-6 * np.ptp(image)


# by hand: the score is 4a + 3b + 2c + d of the pixels a b / c d, all 1, and what is removed is 0
WEIGHTS = np.array([[4.0, 3], [2, 1]])[..., None]
HAND = given(NumpyModel(linear(WEIGHTS)), np.ones((1, 2, 2, 1)), WEIGHTS[None, ..., 0])
REVERSED = given(NumpyModel(linear(WEIGHTS)), np.ones((1, 2, 2, 1)), WEIGHTS[None, ::-1, ::-1, 0])
SIGMOID = lambda z: 1 / (1 + np.exp(-2 * z))  # noqa: E731  the probability of z among z and -z
BYTES = [size_in_bytes(np.array([[a, b]], np.uint8)[..., None], "png") for a, b in ((0, 0), (255, 255))]


@pytest.mark.parametrize(
    ("name", "options", "right", "wrong"),
    [
        ("deletion", {"scored": "logit"}, (5 + 6 + 3 + 1) / 4, (5 + 9 + 7 + 4) / 4),  # 10 6 3 1 0 and 10 9 7 4 0
        ("insertion", {"scored": "logit"}, (5 + 4 + 7 + 9) / 4, (5 + 1 + 3 + 6) / 4),  # 0 4 7 9 10 and 0 1 3 6 10
        ("pixel-flipping", {}, 1 - 15 / 40, 1 - 25 / 40),
        ("region-perturbation", {"side": 1}, (0 + 4 + 7 + 9 + 10) / 5, (0 + 1 + 3 + 6 + 10) / 5),
        ("region-perturbation", {"side": 1, "steps": 2}, (0 + 4 + 7) / 3, (0 + 1 + 3) / 3),
        ("mu-fidelity", {"share": 0.25, "samples": 9}, 1, -1),
        ("mu-fidelity", {"share": 0.25, "samples": 9, "correlation": "pearson"}, 1, -1),
        ("infidelity", {"side": 0.5}, 0, None),
        ("completeness", {}, 0, 0),
        ("average-drop", {"masking": "top-half"}, 1 - SIGMOID(7) / SIGMOID(10), 1 - SIGMOID(3) / SIGMOID(10)),
        ("average-drop", {}, 1 - SIGMOID(7.5) / SIGMOID(10), 1 - SIGMOID(5) / SIGMOID(10)),  # 30 / 4 and 20 / 4
        ("average-increase", {}, 0, 0),
        ("average-gain", {}, 0, 0),
        (
            "adcc",
            {},
            3 / (1 / (SIGMOID(7.5) / SIGMOID(10)) + 1 + 1 / (1 - 10 / 16)),
            3 / (1 / (SIGMOID(5) / SIGMOID(10)) + 1 + 1 / (1 - 10 / 16)),
        ),
    ],
)
def test_metrics_by_hand(name: str, options: dict[str, Any], right: float, wrong: float | None) -> None:
    assert measured(name, HAND, **{"fill": 0} | options)[0] == pytest.approx(right, abs=1e-12)
    if wrong is not None:
        assert measured(name, REVERSED, **{"fill": 0} | options)[0] == pytest.approx(wrong, abs=1e-12)


def test_infidelity_by_hand() -> None:
    """Squares of one pixel; the reversed map forecasts 1, 2, 3, 4 where the score falls by 4, 3, 2, 1."""
    drawn = [np.random.default_rng([0, k]).integers(0, 2, size=2) for k in range(8)]
    at = [tuple(int(v) for v in d) for d in drawn]
    falls, forecasts = ([float(w[p]) for p in at] for w in (WEIGHTS[..., 0], WEIGHTS[::-1, ::-1, 0]))
    expected = np.mean([(a - b) ** 2 for a, b in zip(forecasts, falls)])
    options: dict[str, Any] = {"side": 0.5, "samples": 8, "fill": 0}
    assert measured("infidelity", REVERSED, **options, scaled="as-given")[0] == pytest.approx(expected)
    assert measured("infidelity", REVERSED, **options)[0] < expected


def test_road_by_hand() -> None:
    """Ones and one 5: without it all is 1; without any other pixel nothing changes much."""
    x = np.ones((1, 3, 3, 1))
    x[0, 1, 1] = 5
    weights = np.zeros((3, 3, 1))
    weights[1, 1] = 1
    what = given(NumpyModel(linear(weights)), x, x[..., 0])
    options: dict[str, Any] = {"steps": 8, "noise": 0, "scored": "logit", "ties": "first"}
    value, curves = with_curves("road", what, **options)
    np.testing.assert_allclose(curves["most"], 1, atol=1e-6)
    np.testing.assert_allclose(curves["least"], 5, atol=1e-6)
    assert value[0] == pytest.approx(2, abs=1e-6)


def test_irof_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two halves, 3 and 1 of the score: 4, 1, 0 or 4, 3, 0."""
    halves = np.repeat([[[0, 1]]], 8, axis=1).repeat(4, axis=2)
    monkeypatch.setitem(METRICS["irof"].function.__globals__, "superpixels", lambda *_: halves)
    x = np.zeros((1, 8, 8, 1))
    x[0, :, :4], x[0, :, 4:] = 3 / 32, -1 / 32
    weights = np.ones((8, 8, 1))
    weights[:, 4:] = -1
    for m, area in ((np.abs(x[..., 0]), (4 + 1) / 2 + 1 / 2), (-np.abs(x[..., 0]), (4 + 3) / 2 + 3 / 2)):
        found = measured("irof", given(NumpyModel(linear(weights)), x, m), segments=2, fill=0, scored="logit")
        assert found[0] == pytest.approx(1 - area / 2 / 4)


def test_information_curves_by_hand() -> None:
    """Half of the bytes tell all: the curve rises from 0 to 1 at the half, and the accuracy with it."""
    from sightline.metrics._information import _curve

    assert np.mean(_curve(np.array([10.0, 15, 20]), np.array([0.1, 0.9, 0.9]))[50:]) == pytest.approx(1)
    assert _curve(np.array([10.0, 15, 20]), np.array([0.1, 0.9, 0.9]))[25] == pytest.approx(0.5)
    assert _curve(np.array([10.0, 15, 20]), np.array([0, 0.8, 0.4]))[75] == pytest.approx(1)  # never falls
    assert np.isnan(_curve(np.array([20.0, 15, 20]), np.array([0, 0.5, 1]))).all()
    assert np.isnan(_curve(np.array([10.0, 15, 20]), np.array([1, 1, 1]))).all()
    assert BYTES[0] > 0


def test_where_there_is_no_answer_there_is_nan() -> None:
    dark = given(MODEL, X, -np.ones((3, *SIZE)))
    for name in ("average-drop", "average-increase", "average-gain", "adcc"):
        assert np.isnan(measured(name, dark)).all()
    assert np.isfinite(measured("average-drop", dark, masking="top-half")).all()
    flat = given(MODEL, X, np.ones((3, *SIZE)))
    assert np.isnan(measured("mu-fidelity", flat, cells=None, samples=9)).all()
    silent = given(NumpyModel(linear(np.zeros((*SIZE, 3)))), X, MAPS)
    for name in ("mu-fidelity", "completeness", "pixel-flipping", "pic-sic", "pic-aic"):
        assert np.isnan(measured(name, silent)).all(), name
    sure = given(NumpyModel(linear(np.zeros((*SIZE, 3)), 1e3)), X, MAPS)
    assert np.isnan(measured("average-gain", sure)).all()
    nothing = given(MODEL, X, np.zeros((3, *SIZE)))
    assert (measured("infidelity", nothing) > 0).all()
    assert measured("completeness", nothing) == pytest.approx(1)


@pytest.mark.parametrize("name", FAITHFULNESS)
def test_what_is_no_class_has_no_probability(name: str) -> None:
    what = given(MODEL, X, MAPS) | {"probability": None}
    if METRICS[name].params.get("scored") == "logit" or "probability" not in METRICS[name].needs:
        assert np.isfinite(measured(name, what)).all()
        return
    with pytest.raises(sl.MethodError, match="no single class"):
        measured(name, what)


def test_accuracy_asks_for_the_highest_class() -> None:
    outputs = np.array([[1.0, 3, 2], [4, 0, 5]])
    assert Highest()(outputs, outputs[:, 1][None]).tolist() == [[1, 0]]
    one = np.array([[0.3], [-0.3]])  # one output z has the classes -z and z
    assert Highest()(one, one[:, 0][None]).tolist() == [[1, 0]]
    assert Highest()(one, -one[:, 0][None]).tolist() == [[0, 1]]
    what = given(MODEL, X, MAPS)
    assert set(with_curves("road", what, scored="accuracy", steps=3)[1]["most"].ravel()) <= {0.0, 1.0}


def test_pixels_are_those_of_the_picture() -> None:
    """Undone by the preprocessing, or else by each image's own ends, also where the images are changed copies."""
    pre = sl.Preprocessing(mean=(0.5,), std=(0.5,), order="bgr")
    picture = np.random.default_rng(0).integers(0, 256, size=(2, 4, 5, 3))
    x = (picture[..., ::-1] / 255 - 0.5) / 0.5
    assert np.array_equal(_pixels(pre, x, -1, x), picture)
    moved = np.moveaxis(x, -1, 1)
    assert np.array_equal(_pixels(pre, moved, -3, np.concatenate([moved, moved])), np.concatenate([picture, picture]))
    own = np.array([0.0, 4, 8, 2]).reshape(1, 2, 2, 1)
    assert _pixels(None, own, -1, np.concatenate([own, own / 2])).ravel().tolist() == [0, 128, 255, 64, 0, 64, 128, 32]


def test_infidelity_refuses_units_that_do_not_fit() -> None:
    with pytest.raises(sl.MethodError, match="no share"):
        measured("infidelity", given(MODEL, X, MAPS), perturbation="noise")
    with pytest.raises(sl.MethodError, match="one value a channel"):
        measured("infidelity", given(MODEL, X, MAPS) | {"attribution": MAPS[:, :7, :7]}, units="local")


@pytest.mark.parametrize("steps", [10, 55, 110])
def test_pixel_flipping_does_not_hang_on_the_number_of_steps(steps: int) -> None:
    smooth = gaussian_filter(MAPS, (0, 2, 2))
    fine = measured("pixel-flipping", given(MODEL, X, smooth), steps=110, scored="probability")
    np.testing.assert_allclose(
        measured("pixel-flipping", given(MODEL, X, smooth), steps=steps, scored="probability"), fine, atol=0.05
    )


def edges(x: np.ndarray) -> np.ndarray:
    return np.asarray(np.hypot(*np.gradient(x.mean(axis=-1), axis=(1, 2))))


def rivals(x: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Maps that know nothing of the model."""
    rows, columns = (np.linspace(-2, 2, side) for side in x.shape[1:3])
    centred = np.exp(-(rows[:, None] ** 2) - columns**2)
    return {"random": rng.normal(size=x.shape[:3]), "gaussian": np.tile(centred, (len(x), 1, 1)), "edges": edges(x)}


@pytest.fixture(scope="module")
def on_linear_models() -> dict[str, dict[str, float]]:
    """The mean over 100 random linear models of each metric, for the exact attribution and three rivals."""
    rng, blur = np.random.default_rng(0), (0, 1, 1, 0)
    x, weights = (gaussian_filter(rng.normal(size=(100, 10, 10, 1)), blur) for _ in range(2))
    z = (weights * x).sum(axis=(1, 2, 3), keepdims=True)
    weights *= np.sign(z) / np.maximum(np.abs(z), 0.3)  # class 0 is explained, and the model is not sure of it

    def scores(images: np.ndarray) -> np.ndarray:
        z = (images.reshape(-1, *x.shape) * weights).sum(
            axis=(2, 3, 4)
        ).ravel() - 0.1  # without evidence the other class
        return np.stack([z, -z], axis=1)

    model, exact = NumpyModel(scores, chunk=10**4), (weights * x).sum(axis=-1)
    few = {"steps": 5, "samples": 20, "side": 3, "segments": 16}
    found: dict[str, dict[str, float]] = {name: {} for name in FAITHFULNESS}
    for kind, m in {"exact": exact, **rivals(x, rng)}.items():
        again = {"exact": lambda images: (weights * images).sum(axis=-1), "edges": edges}.get(kind, lambda _, m=m: m)
        what = given(model, x, m, np.zeros(100, int)) | {"attribution": m[..., None], "again": again}
        for name in FAITHFULNESS:
            own = {"infidelity": {"side": 0.25}, "mu-fidelity": {"cells": None}}.get(name, {})
            options = few | own | {"fill": 0, "compression": "png"}
            known = {key: value for key, value in options.items() if key in METRICS[name].params}
            found[name][kind] = float(np.nanmean(measured(name, what, **known)))
    return found


@pytest.mark.parametrize("name", FAITHFULNESS)
def test_the_exact_attribution_of_linear_models_is_the_most_faithful(
    name: str, on_linear_models: dict[str, dict[str, float]]
) -> None:
    means = dict(on_linear_models[name])
    sign = {"higher": 1, "lower": -1}[METRICS[name].better]
    exact = sign * means.pop("exact")
    assert exact > max(sign * value for value in means.values()), means
