"""Box and mask of an object out of a map, where no framework is needed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sightline.errors import InputError, MethodError
from sightline.localization import Localization, box_of, object_in
from sightline.pictures import read_metadata

FRAMEWORKS = ("none",)


def drawn(height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A red ellipse on green, both grained, the ellipse, and a blurred map of its upper half."""
    rows, columns = np.mgrid[:height, :width] / np.array([height, width])[:, None, None]
    inside = ((rows - 0.55) / 0.3) ** 2 + ((columns - 0.4) / 0.25) ** 2 < 1
    grain = np.random.default_rng(0).normal(0, 12, (height, width, 1))
    picture = np.where(inside[..., None], [200, 60, 50], [60, 160, 70]) + grain
    heat = np.exp(-(((rows - 0.45) / 0.15) ** 2) - ((columns - 0.4) / 0.15) ** 2)
    return picture.clip(0, 255).astype(np.uint8), inside, heat


def share(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


@pytest.mark.parametrize("shape", [(120, 160), (700, 900), (40, 30)])
def test_the_object_is_found_by_its_colour_where_the_map_shows_a_part_of_it(shape: tuple[int, int]) -> None:
    picture, inside, heat = drawn(*shape)
    found = object_in(picture, heat, np.ones(shape, bool), 0.95, 0.30, 0)
    assert found.shape == shape
    assert share(found, inside) > 0.95
    assert share(heat > np.quantile(heat, 0.8), inside) < 0.7  # the map alone does not have it
    box, true = box_of(found), box_of(inside)
    assert box is not None and true is not None
    assert np.abs(np.subtract(box, true)).max() <= max(2, max(shape) // 200)


def test_only_what_the_model_saw_can_be_object_and_only_the_largest_part_is_kept() -> None:
    picture, inside, heat = drawn(120, 160)
    picture[100:116, 130:150] = picture[60:76, 55:75]  # of the object's colour, apart from it
    seen = np.zeros((120, 160), bool)
    seen[:70] = True
    found = object_in(picture, heat * seen, seen, 0.95, 0.30, 0)
    assert not found[70:].any()
    assert share(found, inside & seen) > 0.9
    whole = object_in(picture, heat, np.ones_like(seen), 0.95, 0.30, 0)
    assert not whole[100:116, 130:150].any()


def test_the_same_random_state_gives_the_same_mask_and_a_map_s_scale_does_not_matter() -> None:
    picture, _, heat = drawn(60, 80)
    first = object_in(picture, heat, np.ones((60, 80), bool), 0.95, 0.30, 5)
    np.testing.assert_array_equal(object_in(picture, heat, np.ones((60, 80), bool), 0.95, 0.30, 5), first)
    np.testing.assert_array_equal(object_in(picture, 1000 * heat, np.ones((60, 80), bool), 0.95, 0.30, 5), first)


def test_opencvs_own_random_state_is_left_alone() -> None:
    cv2 = pytest.importorskip("cv2")
    picture, _, heat = drawn(60, 80)
    drawings = []
    for between in (False, True):
        cv2.setRNGSeed(3)
        if between:
            object_in(picture, heat, np.ones((60, 80), bool), 0.95, 0.30, 5)
        drawings.append(cv2.randu(np.zeros((4, 4)), 0.0, 1.0).copy())
    np.testing.assert_array_equal(*drawings)


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_a_flat_map_points_at_nothing(value: float) -> None:
    picture, _, _ = drawn(60, 80)
    with pytest.raises(MethodError, match="the same everywhere: 0 pixels say object"):
        object_in(picture, np.full((60, 80), value), np.ones((60, 80), bool), 0.95, 0.30, 0)


def test_without_opencv_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    picture, _, heat = drawn(60, 80)
    with pytest.raises(MethodError, match=r"pip install 'sightline\[localize\]'"):
        object_in(picture, heat, np.ones((60, 80), bool), 0.95, 0.30, 0)


def test_a_box_is_tight() -> None:
    mask = np.zeros((5, 7), bool)
    assert box_of(mask) is None
    mask[1, 2] = mask[3, 6] = True
    assert box_of(mask) == (2, 1, 7, 4)


def test_files_have_the_facts_and_the_picture_has_the_box(tmp_path: Path) -> None:
    pixels = np.full((240, 240, 3), 128, np.uint8)
    mask = np.zeros((240, 240), bool)
    mask[60:181, 30:91] = True
    found = Localization(mask, box_of(mask), "a.png", "cat", "gradient", 0.95, 0.3, 0, pixels)
    facts = found.facts()
    assert facts["box"] == [30, 60, 91, 181]
    assert facts["share"] == mask.mean()
    assert json.loads(found.save(tmp_path / "a.json").read_text()) == facts
    assert json.loads(read_metadata(found.save(tmp_path / "a.png"))["box"]) == facts["box"]
    shown = np.asarray(found.picture()).astype(int)
    red = (shown[..., 0] == 255) & (shown[..., 1] == 60)
    left, top, right, bottom = box_of(red) or (0, 0, 0, 0)
    assert (right - left, bottom - top) == (2 * 61, 2 * 121)  # the panel shows each pixel as two
    with pytest.raises(InputError, match=r"\.gif"):
        found.save(tmp_path / "a.gif")
    empty = Localization(np.zeros_like(mask), None, "a.png", "cat", "gradient", 0.95, 0.3, 0, pixels)
    assert empty.facts()["box"] is None
    assert Image.Image.getbbox(empty.picture())
