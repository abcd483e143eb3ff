"""Pictures: colours, overlays, bars, grids and files, against numbers worked out by hand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sightline.errors import InputError, MethodError
from sightline.pictures import (
    Row,
    Scale,
    bar,
    colourise,
    figure,
    grid,
    overlay,
    read_metadata,
    save_png,
    scale_of,
    smooth,
    words,
    write_whole,
)
from sightline.pictures.bar import marks, number
from sightline.pictures.layout import fitted, font, resized_heat, table, wrapped

RNG = np.random.default_rng(0)
PHOTO = RNG.integers(0, 256, (6, 8, 3), dtype=np.uint8)
STRIPES = {(255, 0, 255), (255, 255, 255)}
MAGENTA = (255, 0, 255)


def colours_of(picture) -> set[tuple[int, ...]]:
    return {tuple(colour) for colour in np.asarray(picture).reshape(-1, 3).tolist()}


# the scale


def test_a_map_without_negative_values_gets_a_scale_from_zero_not_from_its_minimum():
    assert scale_of(np.array([[2.0, 5.0]])) == Scale(0.0, 5.0, False, "inferno", None)


def test_a_map_with_negative_values_gets_a_scale_centred_on_zero():
    assert scale_of(np.array([[-1.0, 4.0]])) == Scale(-4.0, 4.0, True, "RdBu_r", None)
    assert scale_of(np.array([[-4.0, 1.0]])) == Scale(-4.0, 4.0, True, "RdBu_r", None)


def test_rounding_below_zero_is_not_a_sign():
    assert not scale_of(np.array([[-1e-8, 1.0]])).signed
    assert scale_of(np.array([[-1e-3, 1.0]])).signed


def test_several_maps_share_the_largest_value_of_all():
    assert scale_of([np.array([[1.0]]), np.array([[0.0, -7.0]])]) == Scale(-7.0, 7.0, True, "RdBu_r", None)


def test_values_that_are_not_finite_do_not_count_for_the_scale():
    assert scale_of(np.array([[np.nan, 3.0, np.inf]])).high == 3.0
    assert scale_of(np.array([[np.nan]])).high == 0.0


def test_percentile_is_off_unless_asked_and_is_recorded():
    heat = np.arange(101.0)[None]
    assert scale_of(heat).high == 100.0
    assert scale_of(heat, percentile=90) == Scale(0.0, 90.0, False, "inferno", 90)
    assert scale_of(-heat, percentile=90) == Scale(-90.0, 90.0, True, "RdBu_r", 90)


@pytest.mark.parametrize("percentile", [0, 100, -3, float("nan")])
def test_percentile_out_of_range(percentile):
    with pytest.raises(MethodError, match=r"over 0 and under 100"):
        scale_of(np.ones((2, 2)), percentile=percentile)


def test_percentile_that_would_hide_every_value_is_refused():
    heat = np.zeros(1000)
    heat[0] = 1
    with pytest.raises(MethodError, match="hide every value"):
        scale_of(heat[None], percentile=99)


def test_unsigned_scale_for_negative_values_is_refused():
    with pytest.raises(MethodError, match="down to -2"):
        scale_of(np.array([[-2.0, 1.0]]), signed=False)


def test_signed_scale_can_be_asked_for():
    assert scale_of(np.array([[0.0, 3.0]]), signed=True) == Scale(-3.0, 3.0, True, "RdBu_r", None)


def test_unknown_colour_map_names_the_nearest():
    with pytest.raises(MethodError, match="Did you mean 'viridis'"):
        scale_of(np.ones((1, 1)), colormap="virids")


# colours


@pytest.mark.parametrize(
    ("name", "middle"), [("RdBu_r", (247, 247, 247)), ("PuOr", (247, 247, 247)), ("jet", (123, 255, 123))]
)
def test_zero_of_a_signed_map_has_the_middle_colour_exactly(name, middle):
    scale = scale_of(np.array([[-0.37, 0.0, 0.11]]), colormap=name)
    # f7f7f7 is the middle of ColorBrewer's; jet's red and blue cross at 0.15 / 0.31 of their ramps
    assert colourise(np.zeros((1, 1)), scale)[0, 0].tolist() == list(middle)


def test_the_default_signed_map_is_near_white_at_zero_red_above_and_blue_below():
    below, zero, above = colourise(np.array([[-1.0, 0.0, 1.0]]), Scale(-1, 1, True, "RdBu_r"))[0].astype(int)
    assert zero.min() >= 240
    assert above[0] > above[2] + 50
    assert below[2] > below[0] + 50


def test_ends_of_the_scale_have_the_ends_of_the_colour_map_and_beyond_stays_there():
    scale = Scale(0, 2, False, "jet")
    low, high, beyond = colourise(np.array([[0.0, 2.0, 9.0]]), scale)[0].tolist()
    assert low == [0, 0, 128]
    assert high == beyond == [128, 0, 0]


@pytest.mark.parametrize("name", ["inferno", "viridis"])
def test_luminance_grows_with_the_value_of_an_unsigned_map(name):
    colours = colourise(np.linspace(0, 5, 65)[None], Scale(0, 5, False, name))[0] / 255
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    assert np.all(np.diff(luminance) > 0)
    assert luminance[-1] > 0.7
    assert luminance[0] < 0.05


@pytest.mark.parametrize("name", ["inferno", "RdBu_r", "viridis", "jet"])
@pytest.mark.parametrize("lost", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_never_has_the_colour_of_a_value(name, lost):
    scale = Scale(-1, 1, True, name)
    every = colours_of(colourise(np.linspace(-1, 1, 1001)[None], scale))
    assert colours_of(colourise(np.full((9, 9), lost), scale)) == STRIPES
    assert not every & STRIPES


def test_a_map_of_zeros_has_the_colour_of_zero():
    zeros = np.zeros((2, 2))
    assert colours_of(colourise(zeros, scale_of(zeros))) == {(0, 0, 4)}
    assert colours_of(colourise(zeros, scale_of(zeros, signed=True))) == {(247, 247, 247)}


# the overlay


@pytest.mark.parametrize("scale", [Scale(0, 1, False, "inferno"), Scale(-1, 1, True, "RdBu_r")])
def test_where_the_map_is_zero_the_overlay_is_the_photograph_exactly(scale):
    heat = np.zeros((6, 8))
    heat[2, 3] = 1
    laid = overlay(PHOTO, heat, scale)
    same = np.ones((6, 8), bool)
    same[2, 3] = False
    assert np.array_equal(laid[same], PHOTO[same])
    assert not np.array_equal(laid[2, 3], PHOTO[2, 3])


def test_overlay_mixes_by_the_root_of_the_value():
    white = np.full((1, 3), 255, np.uint8)
    laid = overlay(white, np.array([[0.25, 1.0, 4.0]]), Scale(0, 1, False, "gray"), opacity=0.8)
    # grey 64 at a quarter (table of 257 entries), share 0.8 * 0.5; white at the end and beyond it
    assert laid[0].tolist() == [[round(255 * 0.6 + 64 * 0.4)] * 3, [255] * 3, [255] * 3]


def test_overlay_of_both_ends_of_a_signed_map_is_equally_strong():
    black = np.zeros((1, 2, 3), np.uint8)
    scale = Scale(-2, 2, True, "RdBu_r")
    heat = np.array([[-2.0, 2.0]])
    assert np.array_equal(overlay(black, heat, scale, opacity=0.5), np.rint(colourise(heat, scale) * 0.5))


def test_overlay_without_opacity_is_the_photograph():
    assert np.array_equal(overlay(PHOTO, RNG.random((6, 8)), Scale(0, 1, False, "inferno"), opacity=0), PHOTO)


@pytest.mark.parametrize("shape", [(6, 8), (6, 8, 1)])
def test_grey_pictures_are_drawn_in_grey(shape):
    grey = PHOTO[..., 0].reshape(shape)
    laid = overlay(grey, np.zeros((6, 8)), Scale(0, 1, False, "inferno"))
    assert np.array_equal(laid, np.stack([PHOTO[..., 0]] * 3, -1))


def test_pixels_that_the_model_did_not_see_have_no_colour_and_the_others_are_untouched():
    seen = np.zeros((6, 8), bool)
    seen[:, 2:6] = True
    heat, scale = RNG.random((6, 8)), Scale(0, 1, False, "inferno")
    laid = overlay(PHOTO, heat, scale, seen=seen)
    assert np.array_equal(laid[seen], overlay(PHOTO, heat, scale)[seen])
    assert np.ptp(laid[~seen], axis=1).max() == 0
    assert laid[~seen].max() <= 40 + 0.3 * 255


def test_overlay_leaves_its_arguments_alone():
    photo, heat = PHOTO.copy(), np.full((6, 8), np.nan)
    overlay(photo, heat, Scale(0, 1, False, "inferno"))
    assert np.array_equal(photo, PHOTO)
    assert np.isnan(heat).all()


@pytest.mark.parametrize("image", [PHOTO / 255, np.zeros((3, 6, 8), np.uint8), np.zeros((0, 8), np.uint8)])
def test_other_pictures_are_refused(image):
    with pytest.raises(InputError, match=r"expected \(h, w, 3\)"):
        overlay(image, np.zeros((6, 8)), Scale(0, 1, False, "inferno"))


def test_a_map_or_mask_of_another_size_is_refused():
    scale = Scale(0, 1, False, "inferno")
    with pytest.raises(InputError, match=r"map of shape \(8, 6\)"):
        overlay(PHOTO, np.zeros((8, 6)), scale)
    with pytest.raises(InputError, match=r"mask `seen` of shape \(6, 7\)"):
        overlay(PHOTO, np.zeros((6, 8)), scale, seen=np.ones((6, 7), bool))
    with pytest.raises(InputError, match="mask `seen` of type uint8"):
        overlay(PHOTO, np.zeros((6, 8)), scale, seen=np.ones((6, 8), np.uint8))


@pytest.mark.parametrize("opacity", [-0.1, 1.1, float("nan")])
def test_opacity_out_of_range(opacity):
    with pytest.raises(MethodError, match="expected 0 to 1"):
        overlay(PHOTO, np.zeros((6, 8)), Scale(0, 1, False, "inferno"), opacity=opacity)


# smoothing


def test_smoothing_by_zero_is_the_identity():
    heat = RNG.normal(size=(7, 9))
    assert np.array_equal(smooth(heat, 0), heat)


def test_smoothing_spreads_a_point_as_a_gaussian_of_that_width_and_keeps_the_sum():
    heat = np.zeros((61, 61))
    heat[30, 30] = 1
    blurred = smooth(heat, 3)
    distance = np.arange(-12, 13)
    weights = np.exp(-(distance**2) / (2 * 3**2))
    weights /= weights.sum()
    assert np.allclose(blurred[18:43, 18:43], np.outer(weights, weights), atol=1e-12)
    assert blurred.sum() == pytest.approx(1, abs=1e-12)


def test_smoothing_a_map_near_the_border_keeps_its_sum():
    heat = np.zeros((30, 30), np.float32)
    heat[0, 29] = 1
    assert smooth(heat, 2).sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("sigma", [-1, float("nan"), float("inf")])
def test_smoothing_by_an_impossible_width(sigma):
    with pytest.raises(MethodError, match="0 or more"):
        smooth(np.ones((3, 3)), sigma)


# words


def test_an_ordinary_map_needs_no_words():
    assert words(RNG.random((20, 20))) is None
    assert words(RNG.normal(size=(20, 20))) is None


@pytest.mark.parametrize(
    ("heat", "said"),
    [
        (np.zeros((3, 3)), "The map is zero everywhere."),
        (np.full((3, 3), 0.25), "The map is constant: 0.25 everywhere."),
        (np.full((2, 2), np.nan), "4 NaN among 4 pixels, shown as stripes. The map has no finite value."),
        (np.array([1.0, 2, 3, 4, 5, np.nan, np.inf]), "1 NaN and 1 infinite among 7 pixels, shown as stripes."),
        (np.array([5.0, 5, 5, 1, 2, 3, 4, 0]), "The map is saturated: 38% of the pixels are at the maximum."),
        (np.array([-5.0, 5, 5, 1, 2, 3, 4, 0]), "The map is saturated: 38% of the pixels are at the maximum."),
        (np.array([5.0, 1, 2, 3, 4]), None),
    ],
)
def test_words_for_odd_maps(heat, said):
    assert words(heat) == said


# the bar


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (1.0, "1.00"), (0.61, "0.610"), (123.4, "123"), (-0.0001234, "-0.000123"), (1234567.0, "1.23e+06")],
)
def test_numbers_have_three_significant_digits(value, text):
    assert number(value) == text


def test_the_bar_names_its_ends_and_the_zero_of_a_signed_map():
    assert marks(Scale(0, 5, False, "inferno")) == {0: "0", 5: "5.00"}
    assert marks(Scale(-5, 5, True, "RdBu_r")) == {-5: "-5.00", 0: "0", 5: "5.00"}
    assert marks(Scale(0, 0, False, "inferno")) == {0: "0"}


def test_the_bar_says_where_values_go_beyond_its_ends():
    scale = Scale(-5, 5, True, "RdBu_r")
    assert marks(scale, np.array([-6.0, 5.0])) == {-5: "≤ -5.00", 0: "0", 5: "5.00"}
    assert marks(scale, np.array([-5.0, 6.0, np.inf])) == {-5: "-5.00", 0: "0", 5: "≥ 5.00"}


def test_the_bar_runs_from_high_at_the_top_to_low_at_the_bottom_by_the_same_colours():
    scale = Scale(-1, 1, True, "RdBu_r")
    column = np.asarray(bar(scale, 101))[10 : 10 + 101, 5]  # 10: half a line of text above the bar
    assert np.array_equal(column, colourise(np.linspace(1, -1, 101)[None], scale)[0])


# text and layout


def test_wrapped_text_fits_and_loses_nothing():
    face = font(14)
    text = "Integrated gradients: Egyptian cat (score 9.31) /a/long/path/without_any_blank/" + "x" * 300
    lines = wrapped(text, face, 120)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert max(face.getlength(line.rstrip()) for line in lines) <= 120


def test_wrapping_breaks_at_blanks_where_it_can():
    face = font(14)
    width = int(face.getlength("one two")) + 1
    assert [line.strip() for line in wrapped("one two three", face, width)] == ["one two", "three"]


def test_a_table_gives_every_column_and_row_the_room_of_its_largest():
    red, green = Image.new("RGB", (10, 4), "red"), Image.new("RGB", (3, 8), "lime")
    sheet = table([[red, green], [green, red]], 2)
    assert sheet.size == (10 + 2 + 10, 8 + 2 + 8)
    assert sheet.getpixel((9, 3)) == (255, 0, 0)
    assert sheet.getpixel((12, 7)) == (0, 255, 0)
    assert sheet.getpixel((12, 10)) == (255, 0, 0)
    assert sheet.getpixel((9, 5)) == (255, 255, 255)


def test_pictures_are_enlarged_by_whole_numbers_and_made_smaller_to_fit():
    assert fitted((64, 64), 480) == (448, 448)
    assert fitted((341, 512), 480) == (480, 320)
    assert fitted((4000, 3000), 480) == (360, 480)
    assert fitted((1, 100000), 480) == (480, 1)


def test_a_smaller_map_holds_the_means_and_a_hole_stays_a_hole():
    heat = np.arange(16.0).reshape(4, 4)
    assert np.array_equal(resized_heat(heat, (2, 2)), [[2.5, 4.5], [10.5, 12.5]])
    heat[0, 0] = np.nan
    assert np.array_equal(resized_heat(heat, (2, 2)), [[np.nan, 4.5], [10.5, 12.5]], equal_nan=True)


# the figure and the grid


def drawn(heat, photo=None, **options) -> Image.Image:
    photo = np.full((*heat.shape, 3), 128, np.uint8) if photo is None else photo
    return figure(photo, heat, title="t", facts=["f"], **options)


def test_figure_shows_the_picture_the_map_and_the_overlay_by_the_stated_scale():
    photo = np.full((40, 40, 3), (10, 200, 60), np.uint8)
    heat = np.tile(np.linspace(0, 3, 40), (40, 1))
    picture = np.asarray(drawn(heat, photo))
    middle = picture[16 + 28 + 10 + 20 + 10 + 240]  # margin, title, gap, fact, gap, half a panel
    scale = scale_of(heat)
    panel = 480 + 12
    assert middle[16 + 100].tolist() == [10, 200, 60]
    assert np.array_equal(middle[16 + panel : 16 + panel + 480 : 12], colourise(heat, scale)[0])
    assert np.array_equal(middle[16 + 2 * panel : 16 + 2 * panel + 480 : 12], overlay(photo, heat, scale)[0])


def test_figure_draws_words_for_an_odd_map_and_none_for_an_ordinary_one():
    amber = (255, 224, 130)
    assert amber in colours_of(drawn(np.zeros((40, 40))))
    assert amber not in colours_of(drawn(np.tile(np.linspace(0, 1, 40), (40, 1))))


def test_figure_of_a_map_with_nan_has_stripes_and_their_legend():
    heat = np.tile(np.linspace(0, 1, 40), (40, 1))
    assert MAGENTA not in colours_of(drawn(heat))
    heat[3, 3] = np.nan
    picture = np.asarray(drawn(heat))
    legend = picture[:, 16 + 3 * 480 + 2 * 12 :]
    assert MAGENTA in colours_of(legend)


def test_values_that_the_model_did_not_see_count_neither_for_scale_nor_words():
    heat = np.tile(np.linspace(0, 1, 40), (40, 1))
    seen = np.ones((40, 40), bool)
    seen[:, :10] = False
    spoilt = np.where(seen, heat, np.nan)
    spoilt[0, 0] = -50
    assert drawn(spoilt, seen=seen).tobytes() == drawn(heat, seen=seen).tobytes()
    assert (96, 96, 96) in colours_of(drawn(heat, seen=seen))


def test_a_long_title_makes_the_figure_taller_not_wider():
    heat, photo = np.eye(40), np.zeros((40, 40, 3), np.uint8)
    short = figure(photo, heat, title="t", facts=[])
    long = figure(photo, heat, title="word " * 200, facts=["/path" * 200])
    assert long.width == short.width
    assert long.height > short.height + 100


@pytest.mark.parametrize("shape", [(1, 1), (1, 3000), (3000, 1), (64, 64), (2000, 1500)])
def test_figures_are_neither_tiny_nor_huge(shape):
    picture = drawn(np.ones(shape))
    assert 400 <= picture.width <= 1800
    assert 200 <= picture.height <= 1300


def same_value_grid(shared_scale: bool) -> np.ndarray:
    """The bottom right pixels of three cells: value 1 in each, in maps with the maxima 1, 4 and 1."""
    heats = [np.zeros((64, 64)) for _ in range(3)]
    for heat, most in zip(heats, (1, 4, 1)):
        heat[0, 0], heat[32:, 32:] = most, 1
    rows = [Row(np.zeros((64, 64, 3), np.uint8), heats)]
    sheet = np.asarray(grid(rows, row_labels=["r"], column_labels=["a", "b", "c"], shared_scale=shared_scale))
    black = np.all(sheet == 0, axis=2)
    y = 16 + 20 + 14 + 250  # margin, header, gap, near the bottom of the cell
    starts = [x for x in range(1, sheet.shape[1]) if black[y - 200, x] and not black[y - 200, x - 1]]
    wide = [x for x in starts if black[y - 200, x : x + 120].all()]
    return sheet[y, [x + 250 for x in wide[1:]]]


def test_equal_values_have_equal_colours_in_a_grid_with_a_shared_scale():
    first, second, third = same_value_grid(True).tolist()
    expected = overlay(np.zeros((1, 1), np.uint8), np.ones((1, 1)), Scale(0, 4, False, "inferno"))[0, 0].tolist()
    assert first == second == third == expected


def test_each_map_has_its_own_scale_in_a_grid_without():
    first, second, third = same_value_grid(False).tolist()
    black = np.zeros((1, 1), np.uint8)
    assert first == third == overlay(black, np.ones((1, 1)), Scale(0, 1, False, "inferno"))[0, 0].tolist()
    assert second == overlay(black, np.ones((1, 1)), Scale(0, 4, False, "inferno"))[0, 0].tolist()


def test_grid_refuses_labels_that_do_not_match():
    row = Row(PHOTO, [np.zeros((6, 8))])
    for rows, labels, columns in ([row], ["a", "b"], ["m"]), ([row], ["a"], ["m", "n"]), ([], [], []):
        with pytest.raises(InputError, match="labels"):
            grid(rows, row_labels=labels, column_labels=columns, shared_scale=True)


# files


def test_metadata_comes_back_as_it_was_and_the_pixels_too(tmp_path):
    facts = {
        "target": "Ägyptische Katze 猫",
        "score": "9.31",
        "empty": "",
        "json": '{"a": [1, 2]}\nline',
        "long": "x" * 99999,
    }
    path = tmp_path / "new" / "folder" / "cat.png"
    save_png(Image.fromarray(PHOTO), path, facts)
    assert read_metadata(path) == {"Software": "sightline"} | facts
    assert np.array_equal(np.asarray(Image.open(path)), PHOTO)
    assert [p.name for p in path.parent.iterdir()] == ["cat.png"]


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_write_that_fails_in_the_middle_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, error):
    path = tmp_path / "cat.png"
    path.write_bytes(b"old")

    def half(self, file, *args, **kwargs):
        file.write(b"half")
        raise error

    monkeypatch.setattr(Image.Image, "save", half)
    with pytest.raises(InputError if isinstance(error, OSError) else KeyboardInterrupt):
        save_png(Image.fromarray(PHOTO), path, {})
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_name_appears_only_when_the_file_is_whole(tmp_path):
    path = tmp_path / "a.bin"

    def write(file):
        file.write(b"1")
        assert not path.exists()
        file.write(b"2")

    write_whole(path, write)
    assert path.read_bytes() == b"12"


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder.png").mkdir()
    for path in (tmp_path / "file" / "cat.png", tmp_path / "folder.png", tmp_path / ("x" * 300 + ".png")):
        with pytest.raises(InputError, match="cannot be written") as caught:
            save_png(Image.fromarray(PHOTO), path, {})
        assert str(caught.value).count("\n") == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder.png"]


def test_metadata_of_what_is_no_png(tmp_path):
    Image.fromarray(PHOTO).save(tmp_path / "a.jpg")
    (tmp_path / "text.png").write_text("text")
    save_png(Image.fromarray(PHOTO), tmp_path / "whole.png", {})
    (tmp_path / "half.png").write_bytes((tmp_path / "whole.png").read_bytes()[:100])
    for name in ("a.jpg", "text.png", "half.png", "missing.png"):
        with pytest.raises(InputError, match="expected a PNG"):
            read_metadata(tmp_path / name)


def test_importing_the_pictures_loads_neither_matplotlib_nor_scikit_image():
    code = "import sys, sightline.pictures; print({'matplotlib', 'skimage', 'scipy'} & set(sys.modules))"
    source = Path(sys.modules["sightline.pictures"].__file__).parents[2]
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": str(source)})
    assert run.stdout.strip() == "set()", run.stderr


def test_lines_stand_at_their_values_and_no_name_is_cut_off() -> None:
    from sightline.pictures import lines
    from sightline.pictures.lines import HEIGHT, LEFT, WIDTH, _across, _down

    same = {"title": "t", "facts": [], "caption": "c", "level": 0.7}
    short = lines({"a": np.array([1.0, 0.0])}, ["1", "2"], **same)
    upright = lines({"a": np.array([1.0, 0.0])}, ["1", "a.layer.with.a.long.name.indeed"], **same)
    assert upright.height - short.height > 180
    assert _down(1, 0) == 10 and _down(0, 0) == 10 + HEIGHT and _down(0, -1) == 10 + HEIGHT / 2
    assert min(_across(5)) > LEFT and max(_across(5)) < WIDTH
    one = lines({"a": np.array([0.3])}, ["1"], **same)
    below = lines({"a": np.array([-0.9])}, ["1"], **same)
    assert one.size == below.size and (np.asarray(one) != np.asarray(below)).any()
