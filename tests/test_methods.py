"""Every method against its independent twin of `paper.py`, in float64, in every framework."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import paper
from nets import FRAMEWORK, build, native, use_float64
from rows import BASELINE, CLASSES, IMAGES, NET, Row, attribute, draws
from sightline.arrays import to_numpy
from sightline.frameworks import adapt
from sightline.layers import choose_layer
from sightline.method import METHODS
from sightline.model import Target

FRAMEWORKS = ("torch", "keras-tensorflow", "keras-jax", "keras-torch")
use_float64()

ROWS: list[Row] = [
    row for path in sorted(Path(__file__).parent.glob("rows_*.py")) for row in import_module(path.stem).ROWS
]


@pytest.fixture(scope="module")
def model() -> Any:
    return adapt(build(NET))


def test_every_method_has_a_row() -> None:
    """But those of attention, whose net is a transformer: `test_attention_methods.py`."""
    assert {name for name, _, _ in ROWS} == {name for name, m in METHODS.items() if "attention" not in m.needs}


@pytest.mark.parametrize(("name", "params", "twin"), ROWS, ids=lambda v: v if isinstance(v, str) else "")
def test_method_equals_its_twin(model: Any, name: str, params: dict[str, Any], twin: Callable[..., np.ndarray]) -> None:
    if "layer" in params:
        params = params | {"layer": choose_layer(model.places(native(IMAGES, model)), params["layer"])}
    found, _ = attribute(model, name, **params)
    expected = np.stack([[twin(model, i, c) for i in range(len(IMAGES))] for c in CLASSES])
    assert found.shape == expected.shape
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10 * np.abs(expected).max())


def test_integrated_gradients_reports_what_it_leaves_unexplained(model: Any) -> None:
    found, checks = attribute(model, "integrated-gradients", baseline=BASELINE, steps=10)
    for k, c in enumerate(CLASSES):
        for i in range(len(IMAGES)):
            change = paper.scores(NET, IMAGES[i])[c] - paper.scores(NET, BASELINE[i])[c]
            assert checks["residual"][k, i] == pytest.approx(abs(found[k, i].sum() - change) / abs(change), rel=1e-6)


def test_integrated_gradients_map_error_is_its_distance_from_the_rule_of_a_third(model: Any) -> None:
    _, checks = attribute(model, "integrated-gradients", baseline=BASELINE, steps=9)
    fine = paper.integrated_gradients(NET, IMAGES[0], CLASSES[0], BASELINE[0], 9)
    coarse = paper.integrated_gradients(NET, IMAGES[0], CLASSES[0], BASELINE[0], 3)
    assert checks["map_error"][0, 0] == pytest.approx(np.abs(fine - coarse).sum() / np.abs(fine).sum(), rel=1e-9)


def test_integrated_gradients_triples_its_points_until_the_tolerance_is_met(model: Any) -> None:
    _, loose_checks = attribute(model, "integrated-gradients", baseline=BASELINE, steps=4, tolerance=1e9)
    assert (loose_checks["steps"] == 4).all()
    tight, checks = attribute(model, "integrated-gradients", baseline=BASELINE, steps=4, tolerance=0.0)
    assert (checks["steps"] == 108).all()
    expected = paper.integrated_gradients(NET, IMAGES[1], CLASSES[0], BASELINE[1], 108)
    np.testing.assert_allclose(tight[0, 1], expected, rtol=0, atol=1e-10 * np.abs(expected).max())
    assert checks["residual"].max() < loose_checks["residual"].max()
    some = float(
        np.median(
            np.maximum(
                *(
                    attribute(model, "integrated-gradients", baseline=BASELINE, steps=12)[1][c]
                    for c in ("residual", "map_error")
                )
            )
        )
    )
    mixed, mixed_checks = attribute(model, "integrated-gradients", baseline=BASELINE, steps=4, tolerance=some)
    for k, c in enumerate(CLASSES):  # each image and target stops by itself
        for i in range(len(IMAGES)):
            alone = paper.integrated_gradients(NET, IMAGES[i], c, BASELINE[i], int(mixed_checks["steps"][k, i]))
            np.testing.assert_allclose(mixed[k, i], alone, rtol=0, atol=1e-9)


def test_integrated_gradients_of_a_linear_model_is_exact() -> None:
    rng = np.random.default_rng(3)
    kernel = rng.normal(size=(3, 3, 3, 6))
    net = [
        ("conv", "conv", kernel, rng.normal(size=6)),
        ("mean", "mean"),
        ("linear", "head", rng.normal(size=(6, 5)), rng.normal(size=5)),
    ]
    linear = adapt(build(net))
    found, checks = attribute(linear, "integrated-gradients", baseline=BASELINE, steps=1)
    expected = (IMAGES[0] - BASELINE[0]) * paper.gradient(net, IMAGES[0], CLASSES[0])
    np.testing.assert_allclose(found[0, 0], expected, rtol=0, atol=1e-12)
    assert checks["residual"].max() < 1e-9


def test_smoothgrad_of_one_sample_without_noise_is_the_method_itself(model: Any) -> None:
    for of, params in (("gradient", {}), ("integrated-gradients", {"baseline": BASELINE, "steps": 3})):
        plain, _ = attribute(model, of, **params)
        smooth, _ = attribute(model, "smoothgrad", of=of, samples=1, noise=0.0, **params)
        np.testing.assert_allclose(smooth, plain, rtol=0, atol=1e-12 * np.abs(plain).max())


def test_smoothgrad_smooths_a_cam_too(model: Any) -> None:
    layer = choose_layer(model.places(native(IMAGES, model)), "relu2")
    found, _ = attribute(model, "smoothgrad", of="grad-cam", samples=3, noise=0.1, random_state=5, layer=layer)
    noise = draws(model, 3)
    for i, image in enumerate(IMAGES):
        noisy = [image + 0.1 * (image.max() - image.min()) * draw for draw in noise]
        expected = np.mean([paper.grad_cam(NET, x, CLASSES[0], "relu2") for x in noisy], axis=0)
        np.testing.assert_allclose(found[0, i], expected, rtol=0, atol=1e-10)


def _squares(*values: Any) -> Any:
    each = [(v**2).sum(tuple(range(1, v.ndim))) if FRAMEWORK == "torch" else _keras_squares(v) for v in values]
    return sum(each)[None]


def _keras_squares(value: Any) -> Any:
    import keras

    return keras.ops.sum(value**2, axis=tuple(range(1, len(value.shape))))


def test_a_target_may_score_the_values_at_several_places(model: Any) -> None:
    x = native(IMAGES, model)
    places = tuple(choose_layer(model.places(x), name).name for name in ("conv1", "relu2"))
    both = model.run(x, at=[""], target=Target(lambda values: _squares(*values), place=places))
    each = [model.run(x, at=[""], target=Target(_squares, place=place)) for place in places]
    for found, parts in ((both.score, [t.score for t in each]), (both.grads[""], [t.grads[""] for t in each])):
        np.testing.assert_allclose(to_numpy(found), sum(to_numpy(part) for part in parts), rtol=1e-10)
