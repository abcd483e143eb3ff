"""The answer: maps, facts and files, against numbers by hand, in every framework."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from skimage.filters import gaussian

import paper
import sightline as sl
from nets import FRAMEWORK, build, use_float64

FRAMEWORKS = ("torch", "keras-tensorflow", "keras-jax", "keras-torch")
use_float64()

NET = paper.small_net()
RNG = np.random.default_rng(10)
IMAGES = RNG.normal(size=(6, 12, 12, 3)) + RNG.normal(size=(6, 1, 1, 3))  # more than go into one pass in PyTorch
GRADIENTS = np.stack([paper.gradient(NET, image, 1) for image in IMAGES])


@pytest.fixture(scope="module")
def model() -> Any:
    return build(NET)


def as_input(images: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(images, -1, 1)) if FRAMEWORK == "torch" else images


def explain(
    model: Any, images: Any = None, method: str = "gradient", target: Any = 1, **options: Any
) -> sl.Explanation:
    e = sl.explain(model, as_input(IMAGES) if images is None else images, method=method, target=target, **options)
    assert isinstance(e, sl.Explanation)
    return e


def assert_close(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.dtype == np.float32
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6 * np.abs(expected).max())


def test_attribution_has_its_channels_last_whatever_the_framework(model: Any) -> None:
    assert_close(explain(model).attribution, GRADIENTS)


REDUCED = {
    "max-abs": np.max(np.abs(GRADIENTS), axis=-1),
    "mean-abs": (abs(GRADIENTS[..., 0]) + abs(GRADIENTS[..., 1]) + abs(GRADIENTS[..., 2])) / 3,
    "sum-abs": abs(GRADIENTS[..., 0]) + abs(GRADIENTS[..., 1]) + abs(GRADIENTS[..., 2]),
    "sum": GRADIENTS[..., 0] + GRADIENTS[..., 1] + GRADIENTS[..., 2],
    "max": np.maximum(np.maximum(GRADIENTS[..., 0], GRADIENTS[..., 1]), GRADIENTS[..., 2]),
    "l2": (GRADIENTS[..., 0] ** 2 + GRADIENTS[..., 1] ** 2 + GRADIENTS[..., 2] ** 2) ** 0.5,
}


@pytest.mark.parametrize("reduce", REDUCED)
def test_channels_become_one_number_a_pixel(model: Any, reduce: str) -> None:
    e = explain(model, reduce=reduce)
    assert_close(e.map, REDUCED[reduce])
    assert e.reduce == reduce


def test_a_map_without_channels_has_nothing_to_reduce(model: Any) -> None:
    first, second = sl.explain(model, as_input(IMAGES), method=["grad-cam", "gradient"], target=2, reduce="l2")
    assert (first.reduce, second.reduce) == (None, "l2")
    assert first.facts()["reduce"] is None
    plain = sl.explain(model, as_input(IMAGES), method="grad-cam", target=2)
    assert isinstance(plain, sl.Explanation)
    assert np.array_equal(first.map, plain.map)


@pytest.mark.parametrize(
    "said",
    [
        MemoryError(),
        RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of ..."),
        RuntimeError("[enforce fail] . DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."),
        ValueError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 123 bytes."),
    ],
)
def test_too_little_memory_is_called_that(said: Exception) -> None:
    class Large:
        channel, chunk = -1, 4

        def array(self, x: Any) -> Any:
            return x

        def places(self, x: Any) -> Any:
            raise said

        run = places

    with pytest.raises(sl.ModelError, match="Large ran out of memory on an input of shape") as error:
        sl.explain(Large(), IMAGES)
    assert "smaller images" in error.value.fix
    assert error.value.__cause__ is said


def test_by_default_a_gradient_is_reduced_by_the_largest_absolute_value(model: Any) -> None:
    assert_close(explain(model).map, REDUCED["max-abs"])
    assert_close(explain(model, method="input-x-gradient").map, (GRADIENTS * IMAGES).sum(axis=-1))


def test_smooth_is_a_gaussian_of_the_map(model: Any) -> None:
    e = explain(model, smooth=1.5, reduce="sum")
    assert_close(e.map, np.stack([gaussian(m, 1.5, mode="reflect") for m in REDUCED["sum"]]))
    assert_close(e.attribution, GRADIENTS)
    assert e.facts()["smooth"] == 1.5


def test_images_beyond_one_pass_keep_their_own_baseline_and_noise(model: Any) -> None:
    baseline = RNG.normal(size=IMAGES.shape)
    e = explain(model, method="integrated-gradients", baseline=as_input(baseline), steps=4)
    expected = [paper.integrated_gradients(NET, x, 1, b, 4) for x, b in zip(IMAGES, baseline)]
    assert_close(e.attribution, np.stack(expected))
    noisy = [explain(model, method="occlusion", window=5, baseline="noise", random_state=s).map for s in (0, 0, 1)]
    assert np.array_equal(noisy[0], noisy[1])
    assert not np.allclose(noisy[0], noisy[2], rtol=1e-2)


def test_on_original_undoes_crop_and_resize(model: Any) -> None:
    picture = RNG.integers(0, 256, size=(48, 36, 3), dtype=np.uint8)
    e = explain(model, picture, preprocess="resize=18,crop=12")
    there = e.on_original()
    assert there.shape == (48, 36)
    assert (e.geometries[0].resized, e.geometries[0].crop) == ((24, 18), (6, 3, 12, 12))
    assert (there[:12] == 0).all()  # 6 rows of the resized picture are 12 of its own
    assert (there[:, :6] == 0).all()
    assert (there[36:] == 0).all()
    assert (there[:, 30:] == 0).all()
    # half-pixel centres: row 12 + 2k + 1 lies a quarter of the way from the map's row k to k + 1
    row, column = 12 + 2 * 4 + 1, 6 + 2 * 7 + 1
    m = e.map[0]
    corners = 0.75 * (0.75 * m[4, 7] + 0.25 * m[4, 8]) + 0.25 * (0.75 * m[5, 7] + 0.25 * m[5, 8])
    assert there[row, column] == pytest.approx(corners, rel=1e-5)


def test_checks_say_how_much_is_zero_and_how_much_is_at_the_top() -> None:
    image = np.zeros((1, 12, 12, 3))
    image[0, :3, :, 0] = 2.0  # a quarter of the pixels, all alike
    e = explain(build(NET), as_input(image), method="input-x-gradient", reduce="max-abs")
    expected = np.abs(image[0] * paper.gradient(NET, image[0], 1)).max(axis=-1)
    assert e.checks["zeros"][0] == pytest.approx((expected == 0).mean())
    assert e.checks["zeros"][0] >= 0.75
    assert e.checks["saturated"][0] == pytest.approx((e.map[0] == e.map[0].max()).mean())


def test_a_map_of_zeros_is_all_zero_and_not_saturated(model: Any) -> None:
    e = explain(model, as_input(0 * IMAGES[:1]), method="input-x-gradient")
    assert (e.checks["zeros"][0], e.checks["saturated"][0]) == (1.0, 0.0)
    assert e.picture().size[0] > 12


def test_methods_times_targets_are_a_flat_list_in_order(model: Any) -> None:
    found = sl.explain(
        model, as_input(IMAGES), method=["gradient", "Grad_CAM", "occlusion"], target=[1, "top-2"], window=6
    )
    assert isinstance(found, list)
    assert [e.method for e in found] == ["gradient"] * 3 + ["grad-cam"] * 3 + ["occlusion"] * 3
    top = np.argsort(-np.stack([paper.scores(NET, image) for image in IMAGES]), axis=1)
    for e, classes in zip(found, [np.ones(6), top[:, 0], top[:, 1]] * 3):
        assert [t["index"] for t in e.target] == classes.tolist()
    assert [e.params for e in found[::3]] == [{}, {}, {"baseline": "black", "window": 6, "stride": None}]
    one = sl.explain(model, as_input(IMAGES), method=["gradient"], target=1)
    assert isinstance(one, list)
    assert len(one) == 1


@pytest.mark.parametrize(
    ("options", "given", "fix"),
    [
        ({"method": ["gradient", "occlusion"], "windw": 5}, "gradient, occlusion does not have it", "'window'"),
        ({"method": "gradient", "window": 5}, "option 'window' was given; gradient does not have it", "no options"),
        ({"method": "gradeint"}, "method 'gradeint' was given", "'gradient'"),
        ({"method": []}, "an empty list of methods", ""),
        ({"method": 5}, "method 5 was given", ""),
        ({"method": None}, "method None was given", ""),
        ({"method": [5]}, "method 5 was given", ""),
        ({"reduce": "maxabs"}, "reduce='maxabs' was given", "'max-abs'"),
        ({"smooth": -1}, "smooth=-1 was given; expected a number of at least 0", ""),
        ({"smooth": "much"}, "smooth='much' was given", ""),
        ({"top": -1}, "top=-1 was given", ""),
        ({"random_state": -1}, "random_state=-1 was given; expected a whole number of at least 0", ""),
        ({"random_state": 0.5}, "random_state=0.5 was given", ""),
    ],
)
def test_a_mistake_in_the_request(model: Any, options: dict[str, Any], given: str, fix: str) -> None:
    with pytest.raises(sl.MethodError) as error:
        sl.explain(model, as_input(IMAGES), **options)
    assert str(error.value).count("\n") == 1
    assert given in error.value.given
    assert fix in error.value.fix


def test_grids_name_what_sets_rows_and_columns_apart(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from sightline import explanation

    told: dict[str, Any] = {}
    monkeypatch.setattr(explanation.drawing, "grid", lambda rows, **options: told.update(options))
    few = as_input(IMAGES[:2])

    def labels(**options: Any) -> tuple[list[str], list[str]]:
        sl.grid(sl.explain(model, few, labels=tuple("abcde"), **options))
        return told["row_labels"], told["column_labels"]

    assert labels(method=["gradient", "grad-cam"], target=1) == (["array 0: b", "array 1: b"], ["gradient", "grad-cam"])
    assert labels(method="gradient", target=[1, 2]) == (["array 0", "array 1"], ["b", "c"])
    assert labels(method="gradient", target=[3]) == (["array 0: d", "array 1: d"], ["gradient"])
    ranks = ["".join("abcde"[c] for c in np.argsort(-paper.scores(NET, image))) for image in IMAGES]
    other = next(i for i in range(6) if ranks[i][0] != ranks[0][0])  # its highest class is not that of the first image
    few = as_input(IMAGES[[0, other]])
    rows, columns = labels(method="gradient", target="top-2")
    assert rows == ["array 0", "array 1"]
    for rank, column in enumerate(columns):
        both = [ranks[0][rank], ranks[other][rank]]
        assert column == (both[0] if both[0] == both[1] else " / ".join(both))
    assert " / " in columns[0]
    columns = labels(method=["gradient", "grad-cam"], target=[0, 1])[1]
    assert columns == ["gradient: a", "gradient: b", "grad-cam: a", "grad-cam: b"]


def test_a_grid_is_of_the_same_images(model: Any) -> None:
    one, other = explain(model, as_input(IMAGES[:2])), explain(model, as_input(IMAGES[:1]))
    for wrong in ([], [one, other]):
        with pytest.raises(sl.InputError, match=r"explanations were given for a grid; .*\n.*$"):
            sl.grid(wrong)
    assert sl.grid([one, one]).size[0] > 24
