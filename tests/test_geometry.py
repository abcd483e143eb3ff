"""Geometry: a map put back on the picture lands on its place, keeps its values, and is zero where nothing was seen."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.errors import InputError
from sightline.images import Geometry


def placed(geometry: Geometry, row: int, column: int) -> np.ndarray:
    """A map of the crop's size with one bright cell, put back on the picture."""
    values = np.zeros(geometry.crop[2:], np.float32)
    values[row, column] = 1
    return geometry.on_original(values)


GEOMETRIES = [
    Geometry((400, 300), (341, 256), (58, 16, 224, 224)),  # portrait
    Geometry((300, 400), (256, 341), (16, 58, 224, 224)),  # landscape
    Geometry((301, 401), (37, 49), (2, 8, 32, 32)),  # a crop off the centre by rounding
    Geometry((30, 50), (256, 426), (16, 101, 224, 224)),  # enlarged: the way back averages
    Geometry((64, 64), (64, 64), (0, 0, 64, 64)),
]


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("place", [(0.3, 0.7), (0.5, 0.5), (0.9, 0.1)])
def test_a_bright_cell_lands_on_its_place(geometry: Geometry, place: tuple[float, float]) -> None:
    top, left, height, width = geometry.crop
    row, column = int(place[0] * height), int(place[1] * width)
    back = placed(geometry, row, column)
    steps = np.array(geometry.resized) / geometry.original
    centre = (np.argwhere(back) + 0.5).T @ back[back > 0] / back.sum() * steps
    allowed = np.maximum(0.5, 0.5 * steps)
    assert (np.abs(centre - (row + top + 0.5, column + left + 0.5)) <= allowed).all()


@given(st.integers(1, 60), st.integers(1, 60), st.data())
def test_the_way_back_keeps_a_constant_and_is_zero_outside(original: int, resized: int, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, resized - 1))
    count = data.draw(st.integers(1, resized - start))
    geometry = Geometry((original, 1), (resized, 1), (start, 0, count, 1))
    back = geometry.on_original(np.full((count, 1), 2.0))[:, 0]
    step = resized / original
    covered = [max(0.0, min((y + 1) * step, start + count) - max(y * step, start)) / step for y in range(original)]
    seen = np.array(covered) > 1e-9
    np.testing.assert_array_equal(geometry.seen()[:, 0], seen)
    assert (back[~seen] == 0).all()
    np.testing.assert_allclose(back, 2 * np.array(covered) if step > 1 else 2.0 * seen, atol=1e-5)


def test_reducing_is_true_to_area() -> None:
    values = np.arange(12.0).reshape(2, 6)
    back = Geometry((2, 4), (2, 6), (0, 0, 2, 6)).on_original(values)
    expected = np.array([[0 + 1 / 2, 1 / 2 + 2, 3 + 4 / 2, 4 / 2 + 5]]) / 1.5 + [[0], [6]]
    np.testing.assert_allclose(back, expected, rtol=1e-6)


def test_enlarging_is_bilinear_with_half_pixel_centres() -> None:
    back = Geometry((1, 6), (1, 3), (0, 0, 1, 3)).on_original(np.array([[0.0, 4.0, 8.0]]))
    np.testing.assert_allclose(back, [[0, 1, 3, 5, 7, 8]])


def test_a_map_of_another_size_is_refused() -> None:
    with pytest.raises(InputError, match=r"\(7, 7\)"):
        GEOMETRIES[0].on_original(np.zeros((7, 7)))
