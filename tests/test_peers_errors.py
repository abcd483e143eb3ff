"""Errors of other libraries in pictures and files, seen in them by running; each test shows that sightline does not
make it.

The numbers run on from `test_peers_errors_torch.py` and `test_peers_errors_keras.py`.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import numpy as np
from PIL import Image

from sightline.images import Geometry, read
from sightline.pictures import colourise, grid, overlay, scale_of, smooth
from sightline.pictures.grid import Row
from sightline.preprocessing import Preprocessing
from sightline.reduce import reduced

FRAMEWORKS = ("none",)
MODULES = sorted(Path(__file__).parent.glob("test_peers_errors*.py"))


def luminance(colours: np.ndarray) -> np.ndarray:
    return colours[..., :3] @ np.array([0.2126, 0.7152, 0.0722])


def test_33_a_large_value_has_a_hot_colour() -> None:
    """torchcam overlay_mask squares a mask of uint8, which wraps around: 240 is shown dark blue instead of red."""
    heat = np.arange(256, dtype=np.uint8).reshape(16, 16)
    shown = luminance(colourise(heat, scale_of(heat))).ravel()
    assert (np.diff(shown) >= -1).all()
    assert shown[240] > 0.8 * shown[255] > 4 * shown[0]
    laid = overlay(np.zeros((16, 16, 3), np.uint8), heat, scale_of(heat))
    assert (np.diff(luminance(laid).ravel()) >= -1).all()


def test_34_a_map_has_its_own_colours_whatever_is_beside_it() -> None:
    """tf-explain transform_to_normalized_grayscale: 255 times the z-score over the whole batch, cast to uint8: what lies
    below the mean is 0, above one sigma 255, and a map changes with the batch."""
    rng = np.random.default_rng(0)
    picture, heat = rng.integers(0, 256, (64, 64, 3), np.uint8), rng.random((64, 64))

    def cell(*others: np.ndarray) -> np.ndarray:
        rows = [Row(picture, [h]) for h in (heat, *others)]
        labels = [f"row {i}" for i in range(len(rows))]
        made = grid(rows, row_labels=labels, column_labels=["map"], shared_scale=False)
        return np.asarray(made)[: 2 * 64, :]

    np.testing.assert_array_equal(cell(), cell(100 * rng.random((64, 64)))[:, : cell().shape[1]])
    shown = luminance(colourise(np.linspace(0, 1, 200)[None], scale_of(np.linspace(0, 1, 200)[None])))[0]
    assert len(np.unique(np.rint(shown))) > 100  # no part of the values shares one colour


def test_35_zero_is_neutral_and_the_signs_are_far_apart() -> None:
    """PAIR VisualizeImageDiverging maps to [0, 1] and clips to [-1, 1], with a percentile of signed values: neutral is
    0.5, strong negative -1."""
    heat = np.array([[-4.0, -2.0, 0.0, 1.0, 2.0]])
    scale = scale_of(heat)
    assert (scale.low, scale.high, scale.signed) == (-4.0, 4.0, True)
    colours = colourise(heat, scale)[0].astype(int)
    assert colours[2].min() > 240  # white
    assert colours[0, 2] > colours[0, 0] + 30  # blue
    assert colours[4, 0] > colours[4, 2] + 30  # red
    strength = 255 - colours.min(axis=-1)
    assert strength[0] > strength[1] > strength[2] < strength[3] < strength[4]
    assert abs(strength[1] - strength[4]) < 40  # -2 is as far from white as 2


def test_36_the_largest_of_a_few_channels_is_found_by_size() -> None:
    """iNNvestigate heatmap reduces by "absmax", which gives 1 of (-9, 1, 0); its `project` changes its argument."""
    attribution = np.array([[[-9.0, 1.0, 0.0]]])
    before = attribution.copy()
    assert reduced(attribution, "max-abs") == [[9.0]]
    assert reduced(attribution, "sum") == [[-8.0]]
    heat, picture = np.array([[-9.0, 3.0]]), np.zeros((1, 2, 3), np.uint8)
    kept = heat.copy()
    overlay(picture, heat, scale_of(heat))
    colourise(heat, scale_of(heat))
    smooth(heat, 1.0)
    np.testing.assert_array_equal(heat, kept)
    np.testing.assert_array_equal(attribution, before)
    assert not picture.any()


def test_37_the_most_salient_pixels_are_the_most_visible() -> None:
    """The tutorial on fish ages lays the blue channel of keras-vis' jet picture over the scale: the most salient pixels
    are shown as 0 (rank correlation 0.18), and blurs a colour channel in place of the map."""
    rng = np.random.default_rng(1)
    heat = rng.random((40, 40)) ** 3
    picture = np.full((40, 40, 3), 60, np.uint8)
    change = np.abs(overlay(picture, heat, scale_of(heat)).astype(int) - 60).sum(axis=-1).ravel()
    ranks = [np.argsort(np.argsort(a)) for a in (heat.ravel(), change + 1e-9 * np.arange(1600))]
    assert np.corrcoef(*ranks)[0, 1] > 0.95
    assert change[np.argsort(heat.ravel())[-16:]].min() > np.median(change)
    blurred = smooth(heat, 2.0)
    assert blurred.dtype == heat.dtype
    assert abs(blurred.mean() - heat.mean()) < 0.02 * heat.mean()


def test_38_sixteen_bits_keep_their_levels_and_a_turned_photograph_is_upright(tmp_path: Path) -> None:
    """Pillow makes 255 of all but the lowest of 16 bits' levels, and does not turn a photograph by its EXIF tag;
    torchvision's and the tutorials' readers hand on both."""
    levels = np.linspace(0, 65535, 16).astype(np.uint16).reshape(4, 4)
    Image.fromarray(levels).save(tmp_path / "deep.png")
    np.testing.assert_array_equal(read(tmp_path / "deep.png").pixels[..., 0], np.rint(levels / 257))
    tag = Image.Exif()
    tag[0x0112] = 6
    Image.fromarray(np.zeros((10, 20, 3), np.uint8)).save(tmp_path / "turned.jpg", exif=tag)
    assert read(tmp_path / "turned.jpg").pixels.shape == (20, 10, 3)


def test_39_a_map_lies_where_the_crop_was() -> None:
    """The tutorials stretch the map over the whole picture, though the model saw the centre, or squash the picture."""
    picture = np.zeros((60, 120, 3), np.uint8)
    picture[20:30, 50:58] = 255
    given = read(picture)
    x, geometry = Preprocessing(resize=30, crop=30).apply(given)
    assert geometry == Geometry((60, 120), (30, 60), (0, 15, 30, 30))
    back = geometry.on_original(x[..., 0])
    assert back.shape == (60, 120)
    assert back[22:28, 52:56].min() > 0.9
    assert back[20:30, 50:58].sum() > 0.8 * back.sum()


def test_every_error_has_a_number_of_its_own() -> None:
    numbers = []
    for module in MODULES:
        for node in ast.parse(module.read_text(encoding="utf-8")).body:
            found = re.match(r"test_(\d+)_", node.name) if isinstance(node, ast.FunctionDef) else None
            if found and isinstance(node, ast.FunctionDef):
                numbers.append(int(found[1]))
                assert ast.get_docstring(node), node.name  # which peer, and what goes wrong there
    assert sorted(numbers) == list(range(1, len(numbers) + 1))
