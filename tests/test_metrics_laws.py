"""Laws that every registered metric keeps, in every framework; a new metric is tested here without a line."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

import paper
import sightline as sl
from nets import FRAMEWORK, build, native, snapshot
from sightline.listing import metrics
from sightline.metric import METRICS

FRAMEWORKS = ("torch", "keras-tensorflow", "keras-jax", "keras-torch")
NET = paper.small_net()
RNG = np.random.default_rng(4)
IMAGES = (RNG.normal(size=(4, 12, 12, 3)) + 3 * RNG.normal(size=(4, 1, 1, 3)))[:3].astype(np.float32)
MASKS = RNG.uniform(size=(3, 12, 12)) < 0.3
FEW = {"steps": 4, "samples": 4, "segments": 6, "side": 4, "cells": 3}  # so that the suite is quick
OWN = {"infidelity": {"side": 0.4}}
ROUNDING = {"infidelity": 5e-5}  # squares of small differences of scores that are rounded to float32
every_metric = pytest.mark.parametrize("name", sorted(METRICS))


@pytest.fixture(scope="module")
def loaded() -> sl.Loaded:
    return sl.load(build(NET, dtype="float32"))


def measured(
    loaded: sl.Loaded, name: str, rows: slice = slice(None), chunk: int = 16, **options: Any
) -> sl.Measurement:
    """The metric of input x gradient, of some of the images."""
    few = {key: value for key, value in (FEW | OWN.get(name, {})).items() if key in METRICS[name].params}
    smaller = replace(loaded, model=replace(loaded.model, chunk=chunk))
    x = native(IMAGES[rows], loaded.model)
    masks = list(MASKS[rows]) if "masks" in METRICS[name].needs else None
    (found,) = sl.measure(smaller, x, metric={name: few | options}, method="input-x-gradient", masks=masks)
    return found


def assert_same(found: np.ndarray, expected: np.ndarray, tolerance: float = 1e-6) -> None:
    assert found.shape == expected.shape
    scale = np.maximum(np.nan_to_num(np.abs(expected)), 1)
    np.testing.assert_allclose(found / scale, expected / scale, rtol=0, atol=tolerance)


@every_metric
def test_a_value_does_not_depend_on_its_neighbours(loaded: sl.Loaded, name: str) -> None:
    together = measured(loaded, name)
    for i in range(3):
        alone = measured(loaded, name, slice(i, i + 1))
        assert_same(alone.values, together.values[i : i + 1], ROUNDING.get(name, 1e-6))
        for curve, values in together.curves.items():
            assert_same(alone.curves[curve], values[i : i + 1], 1e-5)


@every_metric
def test_a_value_does_not_depend_on_the_chunk(loaded: sl.Loaded, name: str) -> None:
    whole = measured(loaded, name)
    for chunk in (1, 3):
        assert_same(measured(loaded, name, chunk=chunk).values, whole.values, ROUNDING.get(name, 1e-6))


@every_metric
def test_values_are_in_their_range_and_the_same_each_time(loaded: sl.Loaded, name: str) -> None:
    before = snapshot(loaded.model.module if FRAMEWORK == "torch" else loaded.model.model)
    found = measured(loaded, name)
    assert snapshot(loaded.model.module if FRAMEWORK == "torch" else loaded.model.model) == before
    assert found.values.shape == (3,) and found.values.dtype == np.float64
    low, high = found.range
    known = found.values[np.isfinite(found.values)]
    assert ((known >= low) & (known <= high)).all()
    assert np.array_equal(found.values, measured(loaded, name).values, equal_nan=True)
    assert set(found.protocol) == set(METRICS[name].params)


@dataclass(frozen=True)
class Watched:
    """A model that counts the images of each pass."""

    model: Any
    passes: list[int]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def run(self, x: Any, **options: Any) -> Any:
        self.passes.append(x.shape[0])
        return self.model.run(x, **options)


@every_metric
def test_no_pass_holds_more_than_a_chunk(loaded: sl.Loaded, name: str) -> None:
    """However many images, steps and samples there are."""
    passes: list[int] = []
    watched = replace(loaded, model=Watched(replace(loaded.model, chunk=8), passes))
    images = np.repeat(IMAGES, 11, axis=0)[:32]
    many = {key: 50 if key == "steps" else 20 for key in ("steps", "samples") if key in METRICS[name].params}
    masks = list(np.repeat(MASKS, 11, axis=0)[:32]) if "masks" in METRICS[name].needs else None
    few = {key: value for key, value in (FEW | OWN.get(name, {})).items() if key in METRICS[name].params}
    options = few | (many if FRAMEWORK == "torch" and name != "road" else {})
    sl.measure(watched, native(images, loaded.model), metric={name: options}, method="gradient", masks=masks)
    assert passes and max(passes) <= 8


def test_presets_are_options_that_there_are(loaded: sl.Loaded) -> None:
    for row in metrics():
        for preset in row["presets"]:
            few = {key: value for key, value in FEW.items() if key in ("steps", "samples") and key in row["params"]}
            spec = ",".join([f"{row['name']}:{preset}", *(f"{key}={value}" for key, value in few.items())])
            method = "gradient" if "noise" in preset else "grad-cam"
            (found,) = sl.measure(loaded, native(IMAGES, loaded.model), metric=spec, method=method)
            assert {key: found.protocol[key] for key in row["presets"][preset]} == {
                key: few.get(key, value) for key, value in row["presets"][preset].items()
            }


def test_a_metric_says_where_it_is_from_and_what_it_means() -> None:
    for row in metrics():
        assert row["summary"].endswith(".") and row["source"] and row["better"] in ("higher", "lower", "neither")
        assert row["low"] < row["high"]
