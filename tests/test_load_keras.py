"""Models from specs and files in Keras, and what sightline refuses to read."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import sightline as sl
from sightline.labels import imagenet

FRAMEWORKS = ("keras-tensorflow", "keras-jax", "keras-torch")
X = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)


@pytest.fixture(autouse=True)
def in_single_precision() -> Any:
    before = keras.config.floatx()
    keras.config.set_floatx("float32")
    yield
    keras.config.set_floatx(before)


def net(*, anything: bool = False) -> keras.Model:
    """A small classifier; with `anything`, one of its layers is a Python function, which its file would hold as code."""
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, activation="relu", name="conv")(image)
    x = keras.layers.Lambda(lambda t: t * 2.0, output_shape=(6, 6, 4))(x) if anything else x
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, keras.layers.Dense(3, activation="softmax")(x))


def error_of(kind: type[sl.SightlineError], spec: Any, **options: Any) -> sl.SightlineError:
    with pytest.raises(kind) as error:
        sl.load(spec, **options)
    assert str(error.value).count("\n") == 1
    return error.value


def logits(loaded: sl.Loaded) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(loaded.model.run(loaded.model.array(X)).outputs))


def test_random_weights_come_with_imagenets_names_and_no_preprocessing() -> None:
    loaded = sl.load("keras:mobilenetv2", weights="random")
    assert loaded.name == "keras:MobileNetV2"
    assert loaded.labels == imagenet()
    assert loaded.preprocessing is None
    assert loaded.size == (224, 224, 3)


def test_published_weights_come_with_their_preprocessing(monkeypatch: pytest.MonkeyPatch) -> None:
    made = keras.applications.MobileNetV2(weights=None)

    def downloaded(weights: str) -> keras.Model:
        assert weights == "imagenet"
        return made

    downloaded.__name__, downloaded.__module__ = "MobileNetV2", keras.applications.MobileNetV2.__module__
    monkeypatch.setattr(keras.applications, "MobileNetV2", downloaded)
    assert sl.load("keras:MobileNetV2").preprocessing == sl.Preprocessing(resize=224, crop=224, mean=0.5, std=0.5)


def test_without_a_network_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*args: Any, **options: Any) -> None:
        raise Exception("URL fetch failure on weights.h5: None -- Name or service not known")

    module = sys.modules[keras.applications.MobileNetV2.__module__]
    monkeypatch.setattr(module.file_utils, "get_file", offline)
    said = error_of(sl.ModelError, "keras:MobileNetV2")
    assert "its weights could not be downloaded (URL fetch failure" in said.given
    assert "--weights FILE" in said.fix


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_file_with_a_model(tmp_path: Path, suffix: str) -> None:
    model, file = net(), tmp_path / f"net:1{suffix}"
    model.save(file)
    loaded = sl.load(str(file))
    assert loaded.name == f"net:1{suffix}"
    assert loaded.size == (8, 8, 3)
    np.testing.assert_allclose(logits(loaded), logits(sl.load(model)), rtol=0, atol=1e-6)
    e = sl.explain(file, X, target=1)
    assert isinstance(e, sl.Explanation)
    assert (e.layer, e.head) == ("conv", "softmax")


def test_weights_of_a_file(tmp_path: Path) -> None:
    model = net()
    model.save(tmp_path / "net.keras")
    other = net()
    other.save_weights(tmp_path / "other.weights.h5")
    loaded = sl.load(tmp_path / "net.keras", weights=str(tmp_path / "other.weights.h5"))
    np.testing.assert_allclose(logits(loaded), logits(sl.load(other)), rtol=0, atol=1e-6)
    wide = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(9, 3)])
    wide.save_weights(tmp_path / "wide.weights.h5")
    said = error_of(sl.ModelError, tmp_path / "net.keras", weights=str(tmp_path / "wide.weights.h5"))
    assert "they do not fit" in said.given


def test_a_file_with_code_is_refused_unless_trusted(tmp_path: Path) -> None:
    model, file = net(anything=True), tmp_path / "net.keras"
    model.save(file)
    said = error_of(sl.UntrustedError, file)
    assert "loading it would run code that is in the file" in said.given
    assert "trust=True" in said.fix
    trusted = sl.load(file, trust=True)
    np.testing.assert_allclose(logits(trusted), logits(sl.load(model)), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("spec", "given", "fix"),
    [
        ("keras:MobileNetV22", "keras.applications has no model of that name", "'MobileNetV2'"),
        ("keras:", "keras: was given", ""),
        ("no-such-file.keras", "no such file", "path"),
        ("runs:3/no-such-file.h5", "'runs:3/no-such-file.h5' was given; there is no such file", "path"),
        ("keras:MobileNetV2.keras", "keras.applications has no model of that name", "'MobileNetV2'"),
        ("net.txt", "it is no spec and no file with a model", "keras:NAME"),
    ],
)
def test_specs_that_name_no_model(spec: str, given: str, fix: str) -> None:
    said = error_of(sl.ModelError, spec)
    assert given in said.given
    assert fix in said.fix


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("content", [b"", b"no model", b"PK\x03\x04 cut short"])
def test_files_that_hold_no_model(tmp_path: Path, suffix: str, content: bytes) -> None:
    file = tmp_path / f"net{suffix}"
    file.write_bytes(content)
    assert "it cannot be read" in error_of(sl.ModelError, file).given
    net().save_weights(tmp_path / "only.weights.h5")
    said = error_of(sl.ModelError, tmp_path / "only.weights.h5")
    assert "it cannot be read" in said.given and "--model keras:NAME --weights FILE" in said.fix


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_broken_file_is_not_called_dangerous_for_its_name(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / "lambda" / f"safe_mode{suffix}"
    file.parent.mkdir()
    file.write_bytes(b"no model")
    assert "it cannot be read" in error_of(sl.ModelError, file).given


def test_a_file_that_is_cut_short(tmp_path: Path) -> None:
    file = tmp_path / "net.keras"
    net().save(file)
    file.write_bytes(file.read_bytes()[:-2000])
    assert "it cannot be read" in error_of(sl.ModelError, file).given


def test_the_hash_tells_one_weight() -> None:
    model = net()
    other = keras.models.clone_model(model)
    other.set_weights(model.get_weights())
    same = sl.load(model).hash_weights()
    assert len(same) == 16
    assert sl.load(model).hash_weights() == same
    weights = model.get_weights()
    weights[0][0, 0, 0, 0] += 1e-3
    model.set_weights(weights)
    assert sl.load(model).hash_weights() != same


def test_the_hash_of_half_precision() -> None:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, dtype="bfloat16")])
    before = sl.load(model).hash_weights()
    _, bias = model.weights
    bias.assign(keras.ops.cast([0.0, 1.0], "bfloat16"))
    assert len(before) == 16
    assert sl.load(model).hash_weights() != before


def test_a_model_that_is_there_is_not_changed() -> None:
    for option in ({"weights": "w.h5"}, {"device": "cpu"}):
        assert "a model that is there already" in error_of(sl.ModelError, net(), **option).given


def test_a_device_is_the_backends_own_choice(tmp_path: Path) -> None:
    net().save(tmp_path / "net.keras")
    assert "its backend chooses the device" in error_of(sl.ModelError, tmp_path / "net.keras", device="cpu").given


def test_a_factory_of_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_keras_nets.py").write_text(
        "import keras\ndef net():\n    return keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)])\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    loaded = sl.load("my_keras_nets:net")
    assert (loaded.name, loaded.size) == ("my_keras_nets:net", (8, 8, 3))


def test_the_size_that_a_model_fixes_is_what_is_assumed() -> None:
    with pytest.warns(sl.PreprocessingWarning, match="says nothing of its preprocessing"):
        e = sl.explain(net(), np.zeros((30, 20, 3), np.uint8))
    assert isinstance(e, sl.Explanation)
    assert e.map.shape == (1, 8, 8)
    wide = keras.Sequential([keras.Input((8, 16, 3)), keras.layers.Conv2D(4, 3, activation="relu")])
    model = keras.Sequential([wide, keras.layers.GlobalAveragePooling2D()])
    model.build((None, 8, 16, 3))
    with pytest.warns(sl.PreprocessingWarning):
        e = sl.explain(model, np.zeros((30, 30, 3), np.uint8))
    assert isinstance(e, sl.Explanation)
    assert e.map.shape == (1, 8, 16)
    assert e.geometries[0].resized == (16, 16)  # its aspect ratio is kept


@pytest.mark.parametrize(("first", "scale"), [(1 / 127.5, 1.0), (2.0, 1 / 255), (None, 1 / 255)])
def test_a_model_that_rescales_pixels_itself_is_given_pixels(first: float | None, scale: float) -> None:
    own = [] if first is None else [keras.layers.Rescaling(first, offset=-1)]
    start = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.RandomFlip(), *own])
    parts = [keras.layers.Conv2D(4, 3, activation="relu"), keras.layers.GlobalAveragePooling2D()]
    model = keras.Sequential([start, *parts])
    model.build((None, 8, 8, 3))
    picture = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    with pytest.warns(sl.PreprocessingWarning, match="was assumed"):
        e = sl.explain(model, picture, method="gradient", target=1)
    outputs = np.asarray(keras.ops.convert_to_numpy(model(picture[None].astype(np.float32) * scale, training=False)))
    assert float(e.score[0]) == pytest.approx(float(outputs[0, 1]), rel=1e-4)
