"""Array maths that is the same in every framework."""

from __future__ import annotations

from typing import Any

import array_api_strict as strict
import numpy as np
import pytest

import paper
from nets import FRAMEWORK, use_float64
from sightline.arrays import (
    at_least_float32,
    beside,
    like,
    logsumexp,
    normal,
    over_rows,
    resize,
    tile,
    to_numpy,
    top_eigenvector,
)
from sightline.hiding import mixed

FRAMEWORKS = ("none", "torch", "keras-tensorflow", "keras-jax", "keras-torch")
if FRAMEWORK != "none":
    use_float64()


def arrays(values: np.ndarray) -> list[Any]:
    """`values` in the framework of this process, and without one as NumPy's and the strict standard's arrays."""
    if FRAMEWORK == "none":
        return [values, strict.asarray(values)]
    if "torch" in FRAMEWORK:
        import torch

        return [torch.as_tensor(values)]
    if FRAMEWORK == "keras-jax":
        import jax.numpy as jnp

        return [jnp.asarray(values)]
    import tensorflow as tf

    return [tf.convert_to_tensor(values)]


@pytest.mark.parametrize("size", [(12, 9), (7, 7), (3, 4), (1, 1), (2, 30)])
def test_resize_is_bilinear(size: tuple[int, int]) -> None:
    values = np.random.default_rng(0).normal(size=(2, 3, 4, 5))
    expected = np.array([[paper.bilinear(a, size) for a in row] for row in values])
    for a in arrays(values):
        found = resize(a, size)
        assert type(found) is type(a)
        np.testing.assert_allclose(to_numpy(found), expected, rtol=0, atol=1e-12)


def test_resize_of_a_single_cell_is_that_cell() -> None:
    for a in arrays(np.full((1, 1, 1), 2.5)):
        assert to_numpy(resize(a, (3, 2))).tolist() == [[[2.5] * 2] * 3]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_arrays_come_in_the_type_that_is_asked_for(dtype: Any) -> None:
    for a in arrays(np.zeros((2, 2), np.float32)):
        assert to_numpy(like(np.ones(3, dtype), a)).dtype == np.float32
        assert to_numpy(beside(np.ones(3, np.int32), a)).dtype == np.int32
        assert type(beside(np.ones(3, np.int32), a)) is type(a)


def test_half_precision_is_float32_on_the_host() -> None:
    half = np.float16([1.5, 2.0])
    for a in [half] if FRAMEWORK == "none" else arrays(half):  # the strict standard has no such type
        assert to_numpy(a).dtype == np.float32
        assert to_numpy(a).tolist() == [1.5, 2.0]


def test_top_eigenvector_of_each_matrix() -> None:
    half = np.random.default_rng(0).normal(size=(3, 2, 5, 5))
    symmetric = half + half.swapaxes(-1, -2)
    for a in arrays(symmetric):
        value, vector = (to_numpy(found) for found in top_eigenvector(a))
        np.testing.assert_allclose(value, np.linalg.eigvalsh(symmetric)[..., -1], rtol=1e-12)
        turned = np.einsum("...ij,...j->...i", symmetric, vector)
        np.testing.assert_allclose(turned, value[..., None] * vector, rtol=0, atol=1e-12)
        np.testing.assert_allclose((vector**2).sum(-1), 1, rtol=1e-12)


def test_logsumexp_neither_overflows_nor_underflows() -> None:
    for a in arrays(np.array([[0.0, np.log(3)], [1e4, 1e4], [-1e4, -1e5]])):
        np.testing.assert_allclose(to_numpy(logsumexp(a)), [np.log(4), 1e4 + np.log(2), -1e4], rtol=1e-12)


def test_linear_algebra_of_half_precision_is_done_in_float32() -> None:
    for a in arrays(np.float32([1.5, 2.0])):
        assert at_least_float32(a) is a
    half = np.float16([1.5, 2.0])
    for a in [half] if FRAMEWORK == "none" else arrays(half):
        assert "float32" in str(at_least_float32(a).dtype)


def test_mixed_is_one_where_the_share_is_one_and_the_other_where_it_is_zero() -> None:
    share = np.array([[0.0], [1.0], [0.25]])
    for a in arrays(np.array([1.0, -2.0])):
        found = to_numpy(mixed(like(share, a), a, like(np.array([3.0, 6.0]), a)))
        np.testing.assert_allclose(found, [[3, 6], [1, -2], [2.5, 4]], rtol=1e-12)


def test_tile_puts_copies_behind_each_other() -> None:
    for a in arrays(np.arange(4.0).reshape(2, 2)):
        assert to_numpy(tile(a, 2)).tolist() == [[0, 1], [2, 3], [0, 1], [2, 3]]


def test_over_rows_asks_each_row() -> None:
    for a in arrays(np.array([[1.0, 2.0], [3.0, 5.0]])):
        assert to_numpy(over_rows(lambda row: row[0] * row[1], a)).tolist() == [2.0, 15.0]


def test_normal_depends_on_random_state_and_number_alone() -> None:
    for one, many in zip(arrays(np.zeros((1, 6, 5, 3))), arrays(np.zeros((4, 6, 5, 3)))):
        first = to_numpy(normal(one, 3, 7))
        assert first.shape == (6, 5, 3)
        assert np.array_equal(first, to_numpy(normal(many, 3, 7)))
        for other in ((3, 8), (4, 7), (7, 3)):
            assert abs(np.corrcoef(first.ravel(), to_numpy(normal(one, *other)).ravel())[0, 1]) < 0.4


def test_normal_is_standard() -> None:
    for x in arrays(np.zeros((1, 200, 200, 3))):
        draws = np.stack([to_numpy(normal(x, 0, k)) for k in range(5)]).ravel()  # 600,000 of them
        assert abs(draws.mean()) < 5 / np.sqrt(draws.size)  # five standard errors
        assert abs(draws.var() - 1) < 5 * np.sqrt(2 / draws.size)
        assert abs((draws**3).mean()) < 5 * np.sqrt(15 / draws.size)
        assert abs((draws**4).mean() - 3) < 5 * np.sqrt(96 / draws.size) + 0.005
        assert (np.abs(draws) < 1).mean() == pytest.approx(0.6827, abs=0.003)
        assert abs(np.corrcoef(draws[:-1], draws[1:])[0, 1]) < 5 / np.sqrt(draws.size)
