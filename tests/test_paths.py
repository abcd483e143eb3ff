"""Gradients and paths: what must hold exactly, and what they say of themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

import paper
import paper_paths
import sightline as sl
from nets import assert_repeated, build, native, use_float64
from rows import BASELINE, CLASSES, IMAGES, NET, attribute
from rows_paths import OTHER
from sightline.arrays import to_numpy
from sightline.baselines import specs_of
from sightline.frameworks import adapt
from sightline.method import METHODS
from sightline.methods.blur_integrated_gradients import blurring
from sightline.methods.full_grad import full_gradient
from sightline.params import settle_params
from sightline.scores import as_target

FRAMEWORKS = ("torch", "keras-tensorflow", "keras-jax", "keras-torch")
use_float64()
RNG = np.random.default_rng(11)
LINEAR: paper.Net = [
    ("conv", "conv", RNG.normal(size=(3, 3, 3, 6)), RNG.normal(size=6)),
    ("mean", "mean"),
    ("linear", "head", RNG.normal(size=(6, 5)), RNG.normal(size=5)),
]
ONE_RELU: paper.Net = [LINEAR[0], ("relu", "relu"), *LINEAR[1:]]


@pytest.fixture(scope="module")
def model() -> Any:
    return adapt(build(NET))


@pytest.fixture(scope="module")
def linear() -> Any:
    return adapt(build(LINEAR))


def score_of(x: np.ndarray, c: int) -> float:
    return float(paper.scores(NET, x)[c])


def changes(starts: np.ndarray) -> np.ndarray:
    """(k, n): the scores of the images less those of `starts`."""
    return np.array([[score_of(x, c) - score_of(b, c) for x, b in zip(IMAGES, starts)] for c in CLASSES])


def sums(found: np.ndarray) -> np.ndarray:
    return found.sum(axis=(2, 3, 4))


PATHS: dict[str, tuple[dict[str, Any], np.ndarray]] = {
    "integrated-gradients": ({"baseline": BASELINE, "steps": 5}, BASELINE),
    "blur-integrated-gradients": (
        {"steps": 5, "sigma": 3.0},
        np.stack([paper_paths.blurred(x, 3.0) for x in IMAGES]),
    ),
    "guided-integrated-gradients": (
        {"baseline": BASELINE, "steps": 6, "fraction": 0.25, "distance": 0.1},
        BASELINE,
    ),
}


@pytest.mark.parametrize("of", sorted(PATHS))
def test_idgi_sums_to_the_change_of_the_score(model: Any, of: str) -> None:
    params, start = PATHS[of]
    found, checks = attribute(model, "idgi", of=of, **params)
    np.testing.assert_allclose(sums(found), changes(start), rtol=0, atol=1e-11)
    assert checks["residual"].max() < 1e-10


@pytest.mark.parametrize("name", sorted(set(PATHS) - {"integrated-gradients"}))
def test_a_path_reports_what_its_sum_leaves(model: Any, name: str) -> None:
    params, start = PATHS[name]
    found, checks = attribute(model, name, **params)
    left = np.abs(sums(found) - changes(start))
    assert left.max() > 1e-3
    np.testing.assert_allclose(checks["residual"], left / np.abs(changes(start)), rtol=1e-8)


def test_paths_through_a_linear_model_are_exact(linear: Any) -> None:
    for name, (params, starts) in PATHS.items():
        for options in (params | {"steps": 1}, params):
            found, checks = attribute(linear, name, **options)
            for i, start in enumerate(starts):
                expected = (IMAGES[i] - start) * paper.gradient(LINEAR, IMAGES[i], CLASSES[1])
                np.testing.assert_allclose(found[1, i], expected, rtol=0, atol=1e-12)
            assert checks["residual"].max() < 1e-9


def test_the_blur_is_scipys_and_leaves_a_plain_picture_as_it_is(model: Any) -> None:
    x = native(IMAGES, model)
    at = blurring(x, model.channel, 4.0)([0.0, 0.75, 1.0])
    for p, sigma in ((0, 4.0), (1, 1.0)):
        expected = gaussian_filter(IMAGES, (0, sigma, sigma, 0), mode="reflect", truncate=12)
        found = np.moveaxis(to_numpy(at[p, ...]), model.channel, -1)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    assert np.array_equal(to_numpy(at[2, ...]), to_numpy(x))
    plain = native(np.full_like(IMAGES, 0.7), model)
    np.testing.assert_allclose(to_numpy(blurring(plain, model.channel, 30.0)([0.0])), 0.7, rtol=1e-12)


def test_a_guided_path_that_may_not_leave_the_straight_one_is_integrated_gradients(model: Any) -> None:
    found, _ = attribute(model, "guided-integrated-gradients", baseline=BASELINE, steps=6, distance=0.0)
    for i, (x, b) in enumerate(zip(IMAGES, BASELINE)):
        starts = [paper.gradient(NET, b + s / 6 * (x - b), CLASSES[0]) for s in range(6)]
        np.testing.assert_allclose(found[0, i], (x - b) * np.mean(starts, axis=0), rtol=0, atol=1e-12)


def test_a_guided_path_from_the_image_itself_attributes_nothing(model: Any) -> None:
    found, checks = attribute(model, "guided-integrated-gradients", baseline=IMAGES, steps=6)
    assert not found.any()
    assert (checks["blind"] == 1).all()


def test_expected_gradients_sum_to_the_distance_from_the_backgrounds(model: Any) -> None:
    near, nearer = IMAGES + 0.3 * BASELINE, IMAGES + 0.3 * BASELINE + 0.1 * OTHER
    options: dict[str, Any] = {"backgrounds": (near, nearer), "samples": 40}
    found, checks = attribute(model, "expected-gradients", **options)
    expected = (changes(near) + changes(nearer)) / 2
    assert (np.abs(sums(found) - expected) <= 3 * checks["standard_error"]).all()
    assert checks["standard_error"].max() < 0.2 * np.abs(expected).max()
    _, single = attribute(model, "expected-gradients", **options | {"samples": 1})
    assert np.isnan(single["standard_error"]).all()


def test_the_standard_error_is_that_of_the_samples(model: Any) -> None:
    options: dict[str, Any] = {"backgrounds": (BASELINE, OTHER), "random_state": 2}
    _, checks = attribute(model, "expected-gradients", samples=5, **options)
    upto = [sums(attribute(model, "expected-gradients", samples=n, **options)[0])[0, 1] * n for n in range(1, 6)]
    each = np.diff(upto, prepend=0.0)
    assert checks["standard_error"][0, 1] == pytest.approx(each.std(ddof=1) / np.sqrt(5), rel=1e-9)


def test_expected_gradients_of_a_linear_model_are_exact_for_one_background(linear: Any) -> None:
    found, checks = attribute(linear, "expected-gradients", backgrounds=(BASELINE,), samples=3)
    expected = (IMAGES[0] - BASELINE[0]) * paper.gradient(LINEAR, IMAGES[0], CLASSES[0])
    np.testing.assert_allclose(found[0, 0], expected, rtol=0, atol=1e-12)
    assert checks["standard_error"].max() < 1e-12


def test_gradient_shap_without_noise_is_expected_gradients(model: Any) -> None:
    options: dict[str, Any] = {"backgrounds": (BASELINE, OTHER), "samples": 5, "random_state": 1}
    plain, _ = attribute(model, "expected-gradients", **options)
    shap, _ = attribute(model, "gradient-shap", noise=0.0, **options)
    noisy, _ = attribute(model, "gradient-shap", noise=0.3, **options)
    assert_repeated(shap, plain)
    assert np.abs(noisy - plain).max() > 0.01 * np.abs(plain).max()


def test_the_full_gradient_is_the_papers_and_sums_to_the_score(model: Any) -> None:
    x = native(IMAGES, model)
    weights = np.zeros((len(CLASSES), len(IMAGES), 5))
    for k, c in enumerate(CLASSES):
        weights[k, :, c] = 1
    parts = full_gradient(model, x, as_target(weights, x))
    named = {layer.name.rpartition("/")[2]: to_numpy(part) for layer, part in parts.biases}
    for k, c in enumerate(CLASSES):
        for i, image in enumerate(IMAGES):
            expected = paper_paths.full_gradient(NET, image, c)
            assert sum(part.sum() for part in expected.values()) == pytest.approx(score_of(image, c), rel=1e-12)
            assert set(named) == set(expected) - {""}
            for name, part in named.items():
                found = np.moveaxis(part[k, i], model.channel, -1) if part[k, i].ndim == 3 else part[k, i]
                np.testing.assert_allclose(found, expected[name], rtol=0, atol=1e-12)
    assert attribute(model, "full-grad")[1]["residual"].max() < 1e-12


def test_rect_grad_between_its_limits() -> None:
    model = adapt(build(ONE_RELU))
    guided, _ = attribute(model, "guided-backprop")
    values = paper.forward(ONE_RELU, IMAGES[0])[2] * paper.backward(ONE_RELU, IMAGES[0], CLASSES[0], at="relu")
    negative, zero = (values < 0).mean(), (values == 0).mean()
    assert zero > 0.2
    q = float(100 * (negative + zero / 2))  # a percentile that is zero
    plateau, _ = attribute(model, "rect-grad", q=q)
    np.testing.assert_allclose(plateau[0, 0], IMAGES[0] * guided[0, 0], rtol=0, atol=1e-13)
    assert not attribute(model, "rect-grad", q=100.0)[0].any()
    high, _ = attribute(model, "rect-grad", q=99.0)
    assert 0 < np.count_nonzero(high[0, 0]) < np.count_nonzero(plateau[0, 0])


def test_a_sharp_softplus_gives_the_gradient(model: Any) -> None:
    plain, _ = attribute(model, "gradient")
    sharp, _ = attribute(model, "beta-smooth", beta=1e8)
    np.testing.assert_allclose(sharp, plain, rtol=0, atol=1e-12 * np.abs(plain).max())
    near, _ = attribute(model, "beta-smooth", beta=8.0)
    far, _ = attribute(model, "beta-smooth", beta=0.5)
    assert np.abs(near - plain).sum() < np.abs(far - plain).sum()


def test_the_mean_over_baselines_sums_to_the_distance_from_their_mean_score(model: Any) -> None:
    found, checks = attribute(model, "integrated-gradients", baseline=(BASELINE, OTHER), steps=4)
    expected = (changes(BASELINE) + changes(OTHER)) / 2
    np.testing.assert_allclose(checks["residual"], np.abs(sums(found) - expected) / np.abs(expected), rtol=1e-8)
    assert (checks["steps"] == 8).all()
    _, tripled = attribute(model, "integrated-gradients", baseline=(BASELINE, OTHER), steps=4, tolerance=0.0)
    assert (tripled["steps"] == 216).all()
    assert tripled["residual"].max() < checks["residual"].max()


def test_each_image_keeps_its_own_baselines() -> None:
    model = build(NET)
    x = native(np.concatenate([IMAGES, 3 * OTHER + 1]), sl.load(model).model)
    options: dict[str, Any] = {"method": "integrated-gradients", "steps": 3, "target": 1}
    together = sl.explain(model, x, baseline="black+mean", **options)
    listed = sl.explain(model, x, baseline=["black", "mean"], **options)
    each = [sl.explain(model, x, baseline=b, **options).attribution for b in ("black", "mean")]
    assert np.array_equal(together.attribution, listed.attribution)
    np.testing.assert_allclose(together.attribution, np.mean(each, axis=0), rtol=1e-5, atol=1e-6)
    assert together.params["baseline"] == listed.params["baseline"] == "black+mean"
    for i in range(4):
        alone = sl.explain(model, x[i : i + 1, ...], baseline="black+mean", **options)
        np.testing.assert_allclose(alone.attribution[0], together.attribution[i], rtol=1e-5, atol=1e-6)


def test_every_method_of_a_path_also_explains_a_layer() -> None:
    model = build(NET)
    x = native(IMAGES, sl.load(model).model)
    shared = np.moveaxis(np.full((2, 12, 12, 3), 0.5), -1, sl.load(model).model.channel)
    for name, options in {
        "expected-gradients": {"backgrounds": [shared, "mean"], "samples": 3},
        "full-grad": {},
        "guided-integrated-gradients": {"steps": 3},
        "blur-integrated-gradients": {"steps": 3},
    }.items():
        e = sl.explain(model, x, method=name, layer="pool1", target=1, **options)
        alone = sl.explain(model, x[1:, ...], method=name, layer="pool1", target=1, **options)
        assert e.attribution.shape[1:3] == (6, 6)
        assert np.abs(e.attribution).max() > 0
        np.testing.assert_allclose(alone.attribution[0], e.attribution[1], rtol=1e-5, atol=1e-6)


def test_smoothgrad_takes_several_baselines_along(model: Any) -> None:
    for of, params in (
        ("integrated-gradients", {"baseline": (BASELINE, OTHER), "steps": 2}),
        ("expected-gradients", {"backgrounds": (BASELINE, OTHER[:1])}),
    ):
        plain, _ = attribute(model, of, **params)
        smooth, _ = attribute(model, "smoothgrad", of=of, samples=2, noise=0.0, **params)
        np.testing.assert_allclose(smooth, plain, rtol=0, atol=1e-12 * np.abs(plain).max())


LINEAR_IN_THE_SCORE = {
    "blur-integrated-gradients": {"steps": 2},
    "guided-integrated-gradients": {"baseline": BASELINE, "steps": 3},
    "expected-gradients": {"backgrounds": (BASELINE, OTHER), "samples": 2},
    "idgi": {"baseline": BASELINE, "steps": 3},
    "rect-grad": {"q": 70.0},
    "beta-smooth": {},
}


@pytest.mark.parametrize("name", [*LINEAR_IN_THE_SCORE, "full-grad"])
def test_a_score_in_other_units_gives_the_same_map(name: str) -> None:
    """Scaled with the score; FullGrad, which stretches each part, not even that."""
    larger = [*NET[:-1], ("linear", "head", 1e3 * NET[-1][2], 1e3 * NET[-1][3])]
    params = LINEAR_IN_THE_SCORE.get(name, {})
    plain, _ = attribute(adapt(build(NET)), name, **params)
    scaled, _ = attribute(adapt(build(larger)), name, **params)
    times = 1 if name == "full-grad" else 1e3
    np.testing.assert_allclose(scaled, times * plain, rtol=0, atol=1e-10 * np.abs(scaled).max())


def scratched() -> np.ndarray:
    """A bright picture with a dark scratch of 6 of its 144 pixels."""
    image = np.random.default_rng(0).uniform(0.6, 1.0, size=(1, 12, 12, 3))
    image[0, 5, 3:9] = 0.02
    return image


def test_a_black_baseline_is_blind_to_a_dark_scratch_and_says_so() -> None:
    kernel = np.zeros((3, 3, 3, 1))
    kernel[1, 1] = -1
    darkness: paper.Net = [
        ("conv", "conv", kernel, np.ones(1)),
        ("mean", "mean"),
        ("linear", "head", np.ones((1, 2)), np.zeros(2)),
    ]
    model = build(darkness)
    x = native(scratched(), sl.load(model).model)
    options: dict[str, Any] = {"method": "integrated-gradients", "steps": 2, "target": 0}
    mass, share, notes = {}, {}, {}
    for baseline in (0, "mean", "0+mean", 1):
        e = sl.explain(model, x, baseline=baseline, **options)
        heat = np.abs(e.map[0])
        mass[baseline], share[baseline] = heat[5, 3:9].sum() / heat.sum(), e.checks["blind"][0]
        notes[baseline] = [note for note in e.notes if "look like the baseline" in note]
    assert mass[0] < 0.002 < 0.2 < mass["mean"]
    assert share[0] == pytest.approx(6 / 144)
    assert share[1] < share["mean"]
    assert share["0+mean"] == 0
    assert notes[0] == [
        "4.2% of the pixels look like the baseline (0), so that integrated-gradients gives them next to nothing, "
        "whatever they mean; compare another baseline, or the mean over several, such as black+white"
    ]
    assert not notes["0+mean"]


@pytest.mark.parametrize(
    ("name", "options", "given"),
    [
        ("occlusion", {"baseline": "black+white"}, "baseline='black+white' was given; occlusion takes one"),
        ("guided-integrated-gradients", {"baseline": [0, 1]}, "guided-integrated-gradients takes one"),
        ("integrated-gradients", {"baseline": []}, "an empty list of baselines"),
        ("integrated-gradients", {"baseline": "black+wite"}, "baseline 'wite' was given"),
        ("idgi", {"of": "gradient"}, "of='gradient' was given; expected one of 'integrated-gradients'"),
        ("idgi", {"tolerance": 0.1}, "tolerance=0.1 was given for a path of a fixed number of steps"),
        ("rect-grad", {"q": 101}, "q=101.0 was given; expected a percentile from 0 to 100"),
        ("guided-integrated-gradients", {"fraction": 2}, "fraction=2.0 was given; expected a share from 0 to 1"),
        ("beta-smooth", {"beta": 0}, "beta=0 was given; expected a number of at least 1e-06"),
    ],
)
def test_what_is_refused(name: str, options: dict[str, Any], given: str) -> None:
    model = build(NET)
    with pytest.raises(sl.MethodError) as error:
        sl.explain(model, native(IMAGES, sl.load(model).model), method=name, **options)
    assert given in error.value.given


def test_several_baselines_by_a_list_by_text_or_by_an_array() -> None:
    assert specs_of("black") == ["black"]
    assert specs_of("black + 0.5+white") == ["black", "0.5", "white"]
    assert specs_of("1e+3") == ["1e+3"]
    assert specs_of(["black+white", 0]) == ["black", "white", 0]
    assert len(specs_of(IMAGES)) == 1
    assert len(specs_of(IMAGES, images=True)) == 2
    assert settle_params(METHODS["expected-gradients"], {})["backgrounds"] == "black+white+mean+blurred"
