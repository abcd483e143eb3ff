"""Chunked passes: every item once and in order, no more than a pass full, with the model's own answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import paper
import sightline as sl
from nets import build, native, use_float64
from sightline.arrays import namespace, to_numpy
from sightline.frameworks import adapt
from sightline.scores import as_target
from sightline.stream import PROGRESS, column, groups, passing, stream

FRAMEWORKS = ("torch", "keras-tensorflow", "keras-jax", "keras-torch")
use_float64()

NET = paper.small_net()
IMAGES = np.random.default_rng(2).normal(size=(2, 12, 12, 3))
FACTORS = [0.0, 0.5, 1.0, -1.0, 2.0, 0.25, 3.0]


@pytest.fixture(scope="module")
def model() -> Any:
    return adapt(build(NET))


def targets(x: Any) -> Any:
    """Classes 1 and 4 of each image."""
    weights = np.zeros((2, len(IMAGES), 5))
    weights[0, :, 1] = weights[1, :, 4] = 1
    return as_target(weights, x)


@pytest.mark.parametrize("chunk", [1, 2, 5, 6, 100])
def test_every_item_is_answered_once_and_in_order(model: Any, chunk: int) -> None:
    from dataclasses import replace

    x, met, largest = native(IMAGES, model), [], 0
    items = iter(FACTORS)
    for group, trace in stream(
        replace(model, chunk=chunk), x, items, lambda some: column(some, x) * x, at=[""], target=targets(x)
    ):
        largest = max(largest, len(group))
        met += group
        for i, factor in enumerate(group):
            for n, image in enumerate(IMAGES):
                np.testing.assert_allclose(to_numpy(trace.outputs)[i, n], paper.scores(NET, factor * image), rtol=1e-9)
                for k, c in enumerate((1, 4)):
                    assert to_numpy(trace.score)[k, i, n] == pytest.approx(paper.scores(NET, factor * image)[c])
                    slope = paper.gradient(NET, factor * image, c)
                    found = np.moveaxis(to_numpy(trace.grads[""])[k, i, n], model.channel, -1)
                    np.testing.assert_allclose(found, slope, rtol=0, atol=1e-10 * np.abs(slope).max())
    assert met == FACTORS
    assert largest == min(max(1, chunk // 2), len(FACTORS))


def test_a_stream_is_lazy(model: Any) -> None:
    drawn: list[float] = []

    def drawing() -> Iterator[float]:
        for factor in FACTORS:
            drawn.append(factor)
            yield factor

    x = native(IMAGES, model)
    passes = groups(_WithChunk(4), x, drawing())
    assert next(passes) == FACTORS[:2]
    assert drawn == FACTORS[:2]


class _WithChunk:
    def __init__(self, chunk: int) -> None:
        self.chunk = chunk


def test_progress_is_told_after_each_pass(model: Any) -> None:
    told: list[tuple[int, int | None]] = []
    token = PROGRESS.set(lambda done, total: told.append((done, total)))
    try:
        x = native(IMAGES, model)
        assert [len(group) for group in groups(_WithChunk(6), x, FACTORS)] == [3, 3, 1]
        list(groups(_WithChunk(100), x, iter(FACTORS)))
    finally:
        PROGRESS.reset(token)
    assert told == [(3, 7), (6, 7), (7, 7), (7, None)]


def test_column_meets_copies_item_by_item(model: Any) -> None:
    x = native(IMAGES, model)
    copies = to_numpy(column([2.0, 3.0], x) * x)
    np.testing.assert_allclose(copies[1], 3 * to_numpy(x))
    assert namespace(x) is namespace(column([1.0], x))


class Quick:
    """A model whose passes are quick as long as no layer gives more than so many bytes."""

    channel = -1

    def __init__(self, chunk: int, quick: int | None) -> None:
        self.chunk, self.quick = chunk, quick

    def places(self, x: Any) -> list[sl.Layer]:
        return [sl.Layer("", "input", (4, 4, 1), -1), sl.Layer("wide", "conv", (4, 4, 10), -1)]  # 640 bytes an image


@pytest.mark.parametrize(
    ("chunk", "quick", "expected"),
    [(8, None, 8), (8, 8 * 640, 8), (8, 8 * 640 - 1, 4), (8, 2 * 640, 2), (8, 1, 1), (6, 3 * 640, 3), (1, 1, 1)],
)
def test_a_pass_is_halved_as_long_as_a_layer_gives_too_much_to_be_quick(
    chunk: int, quick: int | None, expected: int
) -> None:
    x: Any = np.zeros((2, 4, 4, 1), np.float32)
    model: Any = Quick(chunk, quick)
    assert passing(model, x) == expected
    assert len(next(groups(model, x, range(8)))) == max(1, expected // 2)
