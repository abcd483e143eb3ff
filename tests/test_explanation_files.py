"""The answer's facts and files: JSON, PNG, HTML, and arrays that load back equal."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import paper
import sightline as sl
from nets import FRAMEWORK, build, use_float64
from sightline.pictures import read_metadata

FRAMEWORKS = ("torch", "keras-tensorflow", "keras-jax", "keras-torch")
use_float64()

NET = paper.small_net()
LABELS = ("cat", "dog & <b>friends</b>", "Fuß", "d", "e")
IMAGES = np.random.default_rng(10).normal(size=(6, 12, 12, 3))


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
    layout = "contiguous" if FRAMEWORK == "torch" else "channels_last"  # in float64 there is nothing to gain
    assert (again["device"], again["precision"], again["layout"]) == ("cpu", "float64", layout)
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
