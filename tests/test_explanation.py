"""The answer: maps, facts and files, against numbers by hand, in every framework."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from skimage.filters import gaussian

import paper
import sightline as sl
from nets import FRAMEWORK, build, use_float64
from sightline.pictures import read_metadata

FRAMEWORKS = ("torch", "keras-tensorflow", "keras-jax", "keras-torch")
use_float64()

NET = paper.small_net()
LABELS = ("cat", "dog & <b>friends</b>", "Fuß", "d", "e")
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


ODD_PARAMS: list[dict[str, Any]] = [
    {"method": "integrated-gradients", "baseline": "array", "steps": np.int64(2)},
    {"method": "integrated-gradients", "baseline": np.float32(0.5), "steps": 2},
    {"method": "occlusion", "baseline": 0.25, "window": 6},
    {"method": "smoothgrad", "of": "integrated-gradients", "steps": 2, "samples": 2, "random_state": np.int32(3)},
    {"method": "grad-cam", "layer": "object"},
    {"method": "gradient", "target": lambda scores: scores[0] * scores[1]},
    {"method": "gradient", "target": "dog & <b>friends</b> - cat"},
    {"method": "gradient", "target": "top"},
]


@pytest.mark.parametrize("options", ODD_PARAMS, ids=lambda o: o["method"])
def test_facts_are_json_and_everything_loads_back_equal(model: Any, options: dict[str, Any], tmp_path: Path) -> None:
    options = dict(options)
    if options.get("layer") == "object":
        options["layer"] = model.conv2 if FRAMEWORK == "torch" else model.get_layer("conv2")
    if isinstance(options.get("baseline"), str):
        options["baseline"] = as_input(IMAGES[:2])
    e = explain(model, as_input(IMAGES[:2]), labels=LABELS, **options)
    again = json.loads(json.dumps(e.facts(1), allow_nan=False))
    assert again == e.facts(1)
    assert again["method"] == options["method"]
    assert again["weights"] == e.hash_weights() != ""
    assert again["score"] == e.score[1]
    assert again["versions"]["sightline"] == sl.__version__
    assert_loads_back_equal(e, tmp_path / "e.npz")


def assert_loads_back_equal(e: sl.Explanation, path: Path) -> None:
    loaded = sl.load_explanation(e.save(path))
    for name, value in vars(e).items():
        other = getattr(loaded, name)
        if isinstance(value, np.ndarray):
            assert value.dtype == other.dtype
            assert np.array_equal(value, other)
        elif name == "checks":
            assert value.keys() == other.keys()
            assert all(np.array_equal(value[check], other[check]) for check in value)
        elif name == "pictures":
            assert [p.name for p in value] == [p.name for p in other]
            assert all(np.array_equal(p.pixels, q.pixels) for p, q in zip(value, other))
        elif name == "hash_weights":
            assert value() == other()
        else:
            assert value == other, name
    assert [e.facts(i) for i in range(len(e.map))] == [loaded.facts(i) for i in range(len(e.map))]
    assert np.array_equal(e.on_original(1), loaded.on_original(1))


def test_a_number_that_json_cannot_tell_is_none(model: Any) -> None:
    e = explain(model, target=lambda scores: scores[0] / (scores[1] - scores[1]))
    assert not np.isfinite(e.score).any()
    facts = json.loads(json.dumps(e.facts(), allow_nan=False))
    assert facts["score"] is None
    assert "NaN" in (sl.pictures.words(e.map[0]) or "")


def test_a_png_has_the_facts_in_its_metadata(model: Any, tmp_path: Path) -> None:
    e = explain(model, labels=LABELS, target=2)
    path = e.save(tmp_path / "new folder" / "e.png", 4)
    facts = read_metadata(path)
    assert facts.pop("Software") == "sightline"
    told = {name: value if isinstance(value, str) else json.loads(facts[name]) for name, value in e.facts(4).items()}
    assert told == e.facts(4)
    assert facts["method"] == "gradient"
    with Image.open(path) as picture:
        assert picture.size == e.picture(4).size


def test_json_is_one_object_or_a_list(model: Any, tmp_path: Path) -> None:
    e = explain(model)
    assert json.loads(e.save(tmp_path / "all.json").read_text()) == [e.facts(i) for i in range(6)]
    assert json.loads(e.save(tmp_path / "one.json", 3).read_text()) == e.facts(3)
    one = explain(model, as_input(IMAGES[:1]))
    assert json.loads(one.save(tmp_path / "only.JSON").read_text()) == one.facts()


def test_html_stands_alone_and_is_escaped(model: Any, tmp_path: Path) -> None:
    text = explain(model, labels=LABELS).save(tmp_path / "e.html", 0).read_text(encoding="utf-8")
    assert "<b>" not in text
    assert "dog &amp; &lt;b&gt;friends&lt;/b&gt;" in text
    assert "Fuß" in text
    assert 'src="data:image/png;base64,' in text
    assert "http" not in text


@pytest.mark.parametrize(
    ("name", "i", "given", "fix"),
    [
        ("e.gif", 0, "its ending is not known", ".png, .npz, .json, .html"),
        ("e", 0, "its ending is not known", ".png"),
        ("e.png", None, "was given for 6 images", "save(path, i)"),
        ("e.html", None, "was given for 6 images", "save(path, i)"),
        ("e.png", 6, "image 6 was asked for; there are 6", ""),
        ("e.json", -7, "image -7 was asked for", ""),
        ("a file/e.png", 0, "cannot be written", ""),
        ("a file/e.npz", 0, "cannot be written", ""),
    ],
)
def test_what_cannot_be_saved_leaves_nothing(
    model: Any, tmp_path: Path, name: str, i: int | None, given: str, fix: str
) -> None:
    (tmp_path / "a file").write_text("in the way")
    with pytest.raises(sl.InputError) as error:
        explain(model).save(tmp_path / name, i)
    assert str(error.value).count("\n") == 1
    assert given in error.value.given
    assert fix in error.value.fix
    assert [path.name for path in tmp_path.iterdir()] == ["a file"]


def test_a_save_that_fails_half_way_keeps_what_was_there(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    e = explain(model)
    before = e.save(tmp_path / "e.npz").read_bytes()

    def full(file: Any, **arrays: Any) -> None:
        file.write(b"some of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(sl.InputError, match="No space left on device"):
        e.save(tmp_path / "e.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["e.npz"]
    assert (tmp_path / "e.npz").read_bytes() == before


@pytest.mark.parametrize("content", ["", "text", "array", "zip", "cut", "other"])
def test_what_is_no_explanation(model: Any, tmp_path: Path, content: str) -> None:
    path = tmp_path / "e.npz"
    if content == "array":
        with path.open("wb") as file:
            np.save(file, np.zeros(3))
    elif content == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.txt", "a")
    elif content == "other":
        np.savez(path, facts=np.array("{}"))
    elif content == "cut":
        path.write_bytes(explain(model).save(path).read_bytes()[:-500])
    else:
        path.write_text(content)
    with pytest.raises(sl.InputError, match=r"it is no explanation .*\n.*$") as error:
        sl.load_explanation(path)
    assert str(error.value).count("\n") == 1


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
