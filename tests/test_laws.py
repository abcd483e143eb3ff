"""Laws that every registered method keeps, in every framework; a new method is tested here without a line."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

import paper
import sightline as sl
from nets import (
    FRAMEWORK,
    OF_TOKENS,
    ONE_OF_EACH_KIND,
    assert_repeated,
    build,
    build_transformer,
    native,
    snapshot,
    training_step,
    use_float64,
    with_trip,
)
from sightline.asking import Found, Request, ask
from sightline.method import METHODS
from sightline.params import settle_params

FRAMEWORKS = ("torch", "keras-tensorflow", "keras-jax", "keras-torch")
use_float64()

NET = paper.small_net()
RNG = np.random.default_rng(4)
IMAGES = (RNG.normal(size=(4, 12, 12, 3)) + 3 * RNG.normal(size=(4, 1, 1, 3)))[:3]  # of two top classes
FEW = {
    "steps": 4,
    "samples": 3,
    "window": 5,
    "stride": 4,
    "cells": 3,
    "segments": 12,
}  # small, so that the suite is quick; any value keeps the laws
every_method = pytest.mark.parametrize(
    "name", [m for m in sorted(METHODS) if FRAMEWORK == "torch" or m not in OF_TOKENS]
)
every_kind = every_method if FRAMEWORK != "keras-jax" else pytest.mark.parametrize("name", ONE_OF_EACH_KIND)
"""For what is the adapter's own doing: on JAX, where compiling each method again takes long, one of each kind of pass."""


@cache
def built(attends: bool) -> Any:
    return build_transformer() if attends else build(NET)


@pytest.fixture
def model(name: str) -> Any:
    """The net that a method is asked of."""
    return built(name in OF_TOKENS)


@pytest.fixture
def scaled(name: str) -> Any:
    """The net with all its scores 50 times as large."""
    if name in OF_TOKENS:
        return build_transformer(50)
    return build([*NET[:-1], (*NET[-1][:2], *(50 * weights for weights in NET[-1][2:]))])


def run(
    model: Any, name: str, images: np.ndarray, *, chunk: int | None = None, layer: str | None = None, **params: Any
) -> Found:
    """What a method finds for two targets of each image, in the model's own precision."""
    method = METHODS[name]
    few = {key: value for key, value in FEW.items() if method.takes(key, {})}
    loaded = sl.load(model)
    if chunk is not None:
        loaded = replace(loaded, model=replace(loaded.model, chunk=chunk))
    request = Request(method, settle_params(method, few | params), ["top", 2], layer, None, 0.0)
    ((found, _),) = ask([request], loaded, None, native(images, loaded.model))
    return found


def answers_of(model: Any, x: Any) -> np.ndarray:
    """The outputs of the user's own module."""
    return model(x).detach().cpu().numpy()


def assert_same(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10 * max(np.abs(expected).max(), 1e-30))


@every_method
def test_a_map_has_the_shape_of_the_input_and_is_finite(model: Any, name: str) -> None:
    x = native(IMAGES, sl.load(model).model)
    options = {key: value for key, value in FEW.items() if METHODS[name].takes(key, {})}
    one = sl.explain(model, x, method=name, **options)
    assert one.map.shape == (3, 12, 12)
    assert one.map.dtype == np.float32
    assert np.isfinite(one.map).all()
    assert np.abs(one.map).max() > 0
    answers = (
        np.stack([paper.scores(NET, image) for image in IMAGES]) if name not in OF_TOKENS else answers_of(model, x)
    )
    assert [t["index"] for t in one.target] == answers.argmax(axis=1).tolist()
    assert len(set(answers.argmax(axis=1))) == 2
    np.testing.assert_allclose(one.score, answers.max(axis=1), rtol=1e-10)


@every_method
def test_a_map_does_not_depend_on_its_neighbours(model: Any, name: str) -> None:
    together = run(model, name, IMAGES)
    for i in range(3):
        assert_same(run(model, name, IMAGES[i : i + 1]).attribution[:, 0], together.attribution[:, i])
    others = np.concatenate([IMAGES[2:3], 9 * IMAGES[:1], IMAGES[1:2] - 3])
    assert_same(run(model, name, others).attribution[:, 0], together.attribution[:, 2])


@every_method
def test_a_map_does_not_depend_on_the_chunk(model: Any, name: str) -> None:
    whole = run(model, name, IMAGES, chunk=64)
    found = run(model, name, IMAGES, chunk=2)  # two images and one
    assert_same(found.attribution, whole.attribution)
    for check, values in whole.checks.items():
        np.testing.assert_allclose(found.checks[check], values, rtol=1e-8, atol=1e-12)


@every_method
def test_the_same_random_state_gives_the_same_map(model: Any, name: str) -> None:
    first = run(model, name, IMAGES)
    assert_repeated(first.attribution, run(model, name, IMAGES).attribution)
    if METHODS[name].takes("random_state", {}):
        deep = "pool1" if "layer" in METHODS[name].needs else None  # whose gradient depends on the image
        maps = [run(model, name, IMAGES, random_state=state, layer=deep).attribution for state in (0, 1)]
        assert not np.allclose(*maps)


@every_method
def test_a_normalised_map_minds_the_scale_of_the_scores_only_where_the_method_says_so(
    model: Any, scaled: Any, name: str
) -> None:
    maps = [run(m, name, IMAGES).attribution for m in (model, scaled)]
    first, second = (m / np.abs(m).max(axis=tuple(range(2, m.ndim)), keepdims=True) for m in maps)
    assert (np.abs(first - second).max() < 1e-8) == METHODS[name].scale_free


@every_method
def test_the_model_is_untouched(model: Any, name: str) -> None:
    before = snapshot(model)
    run(model, name, IMAGES)
    assert snapshot(model) == before


class _StopError(Exception):
    """Thrown by a layer in the middle of a pass."""


@every_kind
def test_the_model_is_untouched_after_an_exception_in_the_middle(model: Any, name: str) -> None:
    trip: list[type[Exception]] = []
    tripped = with_trip(build_transformer() if name in OF_TOKENS else build(NET), trip)
    before = snapshot(tripped)
    trip.append(_StopError)
    with pytest.raises(_StopError, match="tripped"):
        run(tripped, name, IMAGES)
    trip.clear()
    assert snapshot(tripped) == before
    assert_same(run(tripped, name, IMAGES).attribution, run(model, name, IMAGES).attribution)


@every_kind
def test_eight_threads_find_what_one_finds(model: Any, name: str) -> None:
    expected = [run(model, name, IMAGES[i : i + 1]).attribution for i in range(3)]
    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(run, model, name, IMAGES[i % 3 : i % 3 + 1]) for i in range(16)]
        for i, job in enumerate(jobs):
            assert_same(job.result().attribution, expected[i % 3])


@every_kind
def test_a_thread_that_trains_the_model_meanwhile_gets_its_own_gradients(model: Any, name: str) -> None:
    trained = build_transformer() if name in OF_TOKENS else build(NET)
    expected = training_step(trained)
    wrong: list[float] = []
    done = threading.Event()

    def train() -> None:
        while not done.is_set():
            found = training_step(trained)
            wrong.extend(
                float(np.abs(f - e).max()) for f, e in zip(found, expected) if not np.allclose(f, e, atol=1e-9)
            )

    trainer = threading.Thread(target=train)
    trainer.start()
    try:
        maps = [run(trained, name, IMAGES).attribution for _ in range(3)]
    finally:
        done.set()
        trainer.join()
    assert not wrong
    assert_same(maps[0], run(model, name, IMAGES).attribution)
    assert_repeated(maps[0], maps[1])
