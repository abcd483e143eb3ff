"""The parts of an audit, where the answer is known: statistics, places, painting over, clusters, tables, conditions."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.stats import mannwhitneyu

from sightline import figures
from sightline.auditing import contrasts, interventions, places, samples
from sightline.auditing.answer import Audit, parse
from sightline.auditing.clusters import cluster
from sightline.auditing.findings import findings
from sightline.auditing.odd import oddness
from sightline.errors import InputError, MethodError
from sightline.figures import Figure

FRAMEWORKS = ("none",)


def test_interval_of_a_mean_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    found = [figures.mean_of(rng.normal(3, 2, 40)) for _ in range(200)]
    covered = np.mean([figure.low <= 3 <= figure.high for figure in found])
    assert 0.88 <= covered <= 0.99
    assert abs(np.mean([figure.mean for figure in found]) - 3) < 0.1


def test_two_values_say_little() -> None:
    figure = figures.mean_of([1.0, 3.0])
    assert (figure.low, figure.high) == pytest.approx((2 - 12.706, 2 + 12.706), abs=1e-3)
    few = [figures.mean_of(np.random.default_rng(k).normal(3, 2, 5)) for k in range(200)]
    assert 0.9 <= np.mean([figure.low <= 3 <= figure.high for figure in few]) <= 0.99


def test_share_has_wilsons_interval() -> None:
    figure = figures.share_of([True] * 8 + [False] * 2)
    assert (figure.mean, figure.count) == (0.8, 10)
    assert figure.low == pytest.approx(0.4902, abs=1e-4) and figure.high == pytest.approx(0.9433, abs=1e-4)
    certain = figures.share_of([True] * 10)
    assert certain.high == pytest.approx(1) and certain.low == pytest.approx(0.7225, abs=1e-4)


def test_values_without_an_answer_are_left_out() -> None:
    figure = figures.mean_of([1.0, math.nan, 3.0])
    assert (figure.mean, figure.count) == (2.0, 2)
    assert figures.mean_of([]).facts() == {"mean": None, "low": None, "high": None, "count": 0}


def test_contrast_is_cliffs_delta_and_holm_corrects_it() -> None:
    a, b, c = np.array([3.0, 4, 5, 6]), np.array([1.0, 2, 3, 4]), np.array([1.0, 2, 3, 5])
    first, second, third = contrasts.contrasts("border", {"a": a, "b": b, "c": c})
    wins = sum(int(x > y) - int(x < y) for x in a for y in b)
    assert first.effect == pytest.approx(wins / 16) and first.difference == pytest.approx(2)
    raw = sorted(mannwhitneyu(x, y).pvalue for x, y in ((a, b), (a, c), (b, c)))
    expected = [min(1, 3 * raw[0]), max(min(1, 3 * raw[0]), min(1, 2 * raw[1]))]
    made = contrasts.corrected([first, second, third])
    assert [each.p for each in made][:2] == pytest.approx(expected)
    assert all(x.p <= y.p for x, y in pairwise(made))


def test_attention_is_the_positive_part_in_shares() -> None:
    maps = np.array([[[1.0, -5], [0, 3]], [[-1, 0], [0, -2]]])
    shares = places.attention(maps)
    assert np.allclose(shares[0], [[0.25, 0], [0, 0.75]]) and np.isnan(shares[1]).all()
    mask = np.array([[[True, False], [False, False]], [[True, True], [True, True]]])
    inside = places.share_inside(shares, mask)
    assert inside[0] == 0.25 and np.isnan(inside[1])
    assert np.isnan(places.share_inside(shares[:1], np.zeros((1, 2, 2), bool)))[0]


def test_border_and_corners_of_a_picture_that_is_not_square() -> None:
    frame, squares = places.border(20, 40), places.corners(20, 40)
    assert frame.sum() == 20 * 40 - 16 * 36 and squares.sum() == 4 * 16
    assert frame[1, 20] and not frame[2, 20] and squares[3, 3] and not squares[4, 3]


def test_painting_over_takes_the_colours_around_it() -> None:
    image = np.zeros((1, 20, 20, 2), np.float32)
    image[..., 1] = np.arange(20)[None, None, :]
    mask = np.zeros((1, 20, 20), bool)
    mask[0, 8:12, 8:12] = True
    dirty = image.copy()
    dirty[mask] = 100
    clean = interventions.painted_over(dirty, mask)
    assert np.array_equal(clean[~mask], image[~mask])
    assert np.abs(clean[mask] - image[mask]).max() < 2  # a slope goes on through the hole
    whole = interventions.painted_over(dirty, np.ones((1, 20, 20), bool))
    assert np.allclose(whole, dirty.mean(axis=(1, 2), keepdims=True), atol=1e-4)


def test_as_much_is_hidden_elsewhere() -> None:
    masks = np.zeros((2, 16, 16), bool)
    masks[0, 2:5, 2:7] = True
    masks[1, 9:12, 10:16] = True
    moved = interventions.elsewhere(masks, 0)
    assert moved.sum(axis=(1, 2)).tolist() == masks.sum(axis=(1, 2)).tolist()
    assert not (moved & masks).any()


def test_two_ways_of_deciding_are_two_clusters() -> None:
    rng = np.random.default_rng(0)
    maps = np.abs(rng.normal(0, 0.1, (30, 8, 8)))
    maps[:20, 1, 1] += 5
    maps[20:, 6, 6] += 5
    found = cluster(maps, 0)
    assert found.count == 2 and found.silhouette > 0.5
    assert (found.member[:20] == 0).all() and (found.member[20:] == 1).all()
    one = cluster(np.abs(rng.normal(0, 0.1, (30, 8, 8))) + maps[0], 0)
    assert one.count == 1 and math.isnan(one.silhouette)


def test_the_odd_one_is_the_one_that_is_not_like_its_class() -> None:
    rng = np.random.default_rng(0)
    maps = rng.random((6, 4, 4)) * 0.1
    maps[:5, 0, 0] += 1
    maps[5, 3, 3] += 1
    odd = oddness(maps, {"a": np.arange(6)})
    assert odd.argmax() == 5 and odd[5] > 1 and odd[:5].max() < 0.5
    rest = maps[:5].reshape(5, -1).mean(axis=0)
    assert odd[5] == pytest.approx(1 - np.corrcoef(maps[5].ravel(), rest)[0, 1])
    assert np.isnan(oddness(maps, {"alone": np.array([0])})[0])


def pictures_in(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(folder / name)
    return folder


def test_true_classes_come_from_folders_or_a_table(tmp_path: Path) -> None:
    folder = pictures_in(tmp_path / "set", "cat/1.png", "dog/2.png", "3.png")
    assert [(s.name, s.truth) for s in samples.samples_in(folder)] == [
        ("3.png", None),
        ("1.png", "cat"),
        ("2.png", "dog"),
    ]
    table = tmp_path / "labels.csv"
    table.write_text("file,seed,label\n1.png,5,lynx\n2,6,wolf\n3.png,7,fox\n")
    assert [s.truth for s in samples.samples_in(folder, labels_csv=table)] == ["fox", "lynx", "wolf"]


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    folder = pictures_in(tmp_path / "set", "1.png", "2.png")
    masks = pictures_in(tmp_path / "masks", "1.png")
    with pytest.raises(InputError, match=r"2\.png is in the folder; .*masks has no mask 2\.png"):
        samples.samples_in(folder, masks=masks)
    table = tmp_path / "groups.csv"
    table.write_text("file,group\n1.png,a\n")
    with pytest.raises(InputError, match=r"2\.png is in the folder; .* has no line for it"):
        samples.samples_in(folder, groups=table)
    table.write_text("file\n1.png\n")
    with pytest.raises(InputError, match="column 2"):
        samples.samples_in(folder, groups=table)
    with pytest.raises(InputError, match="no folder"):
        samples.samples_in(tmp_path / "none")


def audit_with(**figures: Figure) -> Audit:
    nothing = {"model": "m", "question": {}, "random_state": 0, "looks": [], "failures": [], "by_class": {}}
    more = {
        "mean_maps": {},
        "clusters": {},
        "contrasts": [],
        "odd": [],
        "against": None,
        "differences": {},
        "seconds": 0.0,
    }
    return Audit(**nothing, **more, figures=figures)


def test_conditions_are_of_the_mean_or_an_end() -> None:
    audit = audit_with(inside_mask=Figure(0.5, 0.4, 0.6, 9), accuracy=Figure(math.nan, math.nan, math.nan, 0))
    assert not audit.fails("inside_mask < 0.5") and audit.fails("inside_mask <= .5")
    assert audit.fails("inside_mask.low < 0.5") and not audit.fails("inside_mask.high < 0.5")
    with pytest.raises(MethodError, match="has no value"):
        audit.fails("accuracy < 1")
    with pytest.raises(MethodError, match=r"figures inside_mask, accuracy\."):
        audit.fails("inside_masks < 1")
    with pytest.raises(MethodError, match="expected a figure, a sign and a number"):
        parse("inside_mask = 0.5")


def test_findings_tell_a_model_that_looks_elsewhere() -> None:
    def figure(mean: float) -> Figure:
        return Figure(mean, mean - 0.02, mean + 0.02, 50)

    common = {"border": figure(0.3), "mask_area": figure(0.01), "changed_elsewhere": figure(0.05)}
    cheat = {"inside_mask": Figure(0.002, 0.001, 0.004, 50), "changed_mask": figure(0.04), "corners": figure(0.6)}
    honest = {"inside_mask": figure(0.7), "changed_mask": figure(0.9), "corners": figure(0.1)}
    told = findings(common | cheat, [], {})
    assert told[0].startswith("The model does not look at what the masks cover")
    assert any("60% (58% to 62%) of the attention lies in the corners, 16% of the picture" in each for each in told)
    told = findings(common | honest, [], {})
    assert any("the answers rest on it" in each and "no sign" not in each for each in told)
    assert not any("corners" in each or "does not look" in each for each in told)
