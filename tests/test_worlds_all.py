"""What holds in every world: the same seed is the same picture, sizes show the same, a change changes one thing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import binary_erosion
from scipy.stats import binomtest

from sightline.errors import InputError
from sightline.worlds import WORLDS, Drawing, control, damaged_parts, find_world, fish_scales, mosaic
from sightline.worlds.fish_scales import Picture
from sightline.worlds.part_pictures import DAMAGES, GROUNDS, TAGS

NAMES = [name for name, world in WORLDS.items() if not world.seed]
FISH = ("fish-scales/rings", "fish-scales/size", "fish-scales/regression")
each_world = pytest.mark.parametrize("name", NAMES)


def changed(before: Drawing, after: Drawing) -> np.ndarray:
    return (before.image != after.image).any(2)


@each_world
def test_same_seed_same_picture_and_masks_of_one_shape(name: str) -> None:
    world = find_world(name)
    first, again, other = world.draw(5), world.draw(5), world.draw(6)
    assert first.image.shape == (world.size, world.size, 3) and first.image.dtype == np.uint8
    for key in ("image", "mask", "distractors", "background"):
        assert np.array_equal(getattr(first, key), getattr(again, key))
    assert first.label == again.label and first.facts == again.facts
    assert not np.array_equal(first.image, other.image)
    masks = np.stack([first.mask, first.distractors, first.background])
    assert masks.dtype == bool and masks.shape[1:] == first.image.shape[:2]
    assert masks.sum(0).max() == 1  # no pixel has two parts
    assert np.array_equal(world.render(first.parameters, world.size).image, first.image)


@pytest.mark.parametrize("name", [*FISH[:2], "damaged-parts/honest", "mosaic/3x3", "control/linear"])
def test_smallest_and_largest_size(name: str) -> None:
    world = find_world(name)
    grid = int(name[-1]) if name.startswith("mosaic") else 1
    for size in (32 * grid, 1024 // grid * grid):
        drawing = world.draw(3, size=size)
        assert drawing.image.shape == (size, size, 3) and drawing.mask.shape == (size, size)
    for wrong in (31 * grid, 1025 * grid, 32 * grid + 1 if grid > 1 else 8):
        with pytest.raises(InputError, match="expected"):
            world.draw(3, size=wrong)
    with pytest.raises(InputError, match="expected 0 or more"):
        world.draw(-1)


@pytest.mark.parametrize("name", [*FISH[:2], "damaged-parts/honest", "mosaic/2x2"])
def test_large_picture_halved_is_the_small_one(name: str) -> None:
    world = find_world(name)
    for seed in range(6):
        small, large = world.draw(seed, size=128), world.draw(seed, size=256)
        halved = large.image.reshape(128, 2, 128, 2, 3).mean((1, 3))
        assert np.abs(halved - small.image).mean() < 3
        assert abs(large.mask.mean() - small.mask.mean()) < 0.02
        assert small.label == large.label


@pytest.mark.parametrize("name", ["damaged-parts/honest"])
@pytest.mark.parametrize("what", ["remove-damage", "add-damage", "take-tag-off", "put-tag-on"])
@pytest.mark.parametrize("size", [64, 200])
def test_a_change_of_damage_or_tag_keeps_every_pixel_outside_their_masks(name: str, what: str, size: int) -> None:
    world, differed = find_world(name), 0
    for seed in range(12):
        before = world.draw(seed, size=size)
        after = world.intervene(before.parameters, what, size=size)
        part = "mask" if "damage" in what else "distractors"
        allowed = getattr(before, part) | getattr(after, part)
        difference = changed(before, after)
        assert not (difference & ~allowed).any()
        differed += bool(difference.any())
        if difference.any():
            assert difference[allowed].mean() > 0.6  # and the masks are no wider than what they are of
    assert differed >= 3


def test_each_change_of_a_part_does_what_it_says() -> None:
    world = find_world("damaged-parts/honest")
    for seed in range(20):
        before = world.draw(seed)
        after = {name: world.intervene(before.parameters, name) for name in world.interventions}
        assert not after["remove-damage"].mask.any() and after["add-damage"].mask.any()
        assert not after["take-tag-off"].distractors.any() and after["put-tag-on"].distractors.any()
        assert after["remove-damage"].label == 0 and after["add-damage"].label == 1
        swapped = after["swap-background"]
        assert swapped.facts["background"] != before.facts["background"]
        assert np.array_equal(swapped.background, before.background)
        assert changed(before, swapped)[before.background].mean() > 0.9
        inside = binary_erosion(~before.background & ~before.distractors, iterations=2)  # off the softened edge
        assert inside.mean() > 0.1 and not changed(before, swapped)[inside].any()


def test_half_of_the_parts_are_damaged_and_the_tag_says_nothing_or_all() -> None:
    honest = [find_world("damaged-parts/honest").draw(seed, size=32) for seed in range(400)]
    cheat = [find_world("damaged-parts/cheat").draw(seed, size=32) for seed in range(60)]
    damaged = np.array([drawing.label for drawing in honest])
    tagged = np.array([drawing.parameters.tagged for drawing in honest])
    assert binomtest(int(damaged.sum()), 400).pvalue > 1e-3
    assert binomtest(int((damaged == tagged).sum()), 400).pvalue > 1e-3
    assert all(drawing.parameters.tagged == drawing.label for drawing in cheat)
    facts = [drawing.facts for drawing in honest]
    tones = {f"{tone} {kind}" for tone in ("dark", "bright") for kind in DAMAGES}
    assert {fact["damage"] for fact in facts} == tones | {"none"}
    assert {fact["tag"] for fact in facts} == {*TAGS, "none"}
    assert {fact["background"] for fact in facts} == set(GROUNDS)


def test_damage_is_seen_and_its_tone_is_as_said() -> None:
    """Dark damages darken their mask, bright ones brighten it, against the same part without them."""
    for seed in range(60):
        hurt = damaged_parts.draw(seed, damaged=True, tagged=False, size=128)
        sound = damaged_parts.draw(seed, damaged=False, tagged=False, size=128)
        change = (hurt.image.astype(float) - sound.image).mean(2)[hurt.mask]
        assert 0.003 < hurt.mask.mean() < 0.08
        assert (change.mean() > 0) == str(hurt.facts["damage"]).startswith("bright")
        assert np.abs(change).mean() > 12
        assert not (hurt.mask & hurt.background).any()


@pytest.mark.parametrize("name", FISH)
def test_a_ring_more_leaves_all_that_is_far_from_it(name: str) -> None:
    world = find_world(name)
    for seed in range(30):
        before = world.draw(seed, size=256)
        picture: Picture = before.parameters
        if len(picture.scale.rings) == 8:
            with pytest.raises(InputError, match="8 rings"):
                world.intervene(picture, "add-ring")
            continue
        after = world.intervene(picture, "add-ring", size=256)
        (ring,) = set(after.parameters.scale.rings) - set(picture.scale.rings)
        assert after.facts["rings"] == before.facts["rings"] + 1
        _, level, pixel = fish_scales.polar(picture.scale, 256)
        far = np.abs(level - ring) > 4 * picture.scale.ring_width + 0.04 + pixel
        assert not changed(before, after)[far].any()
        assert changed(before, after)[~far].mean() > 0.4
        gaps = np.abs(np.array(picture.scale.rings) - ring)
        assert gaps.min() > 2.5 * picture.scale.ring_width


def test_other_changes_of_a_scale_keep_its_rings() -> None:
    world = find_world("fish-scales/rings")
    for seed in range(20):
        before = world.draw(seed, size=96)
        for what in ("rescale", "swap-background", "remove-neighbour"):
            after = world.intervene(before.parameters, what)
            assert after.parameters.scale.rings == before.parameters.scale.rings and after.label == before.label
        assert world.intervene(before.parameters, "rescale").facts["radius"] != before.facts["radius"]
        alone = world.intervene(before.parameters, "remove-neighbour")
        assert not alone.distractors.any() and not (changed(before, alone) & ~before.distractors).mean() > 0.01
        swapped = world.intervene(before.parameters, "swap-background")
        assert not changed(before, swapped)[
            before.scale_mask & (fish_scales.polar(before.parameters.scale, 96)[1] < 0.9)
        ].any()


def test_size_tells_the_age_where_it_should_and_rings_do_not() -> None:
    drawings = [find_world("fish-scales/size").draw(seed, size=32) for seed in range(400)]
    ages, rings = ([f(d) for d in drawings] for f in (lambda d: d.label, lambda d: d.facts["rings"]))
    assert np.corrcoef(ages, [d.facts["radius"] for d in drawings])[0, 1] > 0.99
    assert abs(np.corrcoef(ages, rings)[0, 1]) < 0.2
    assert set(ages) == set(range(8))
    large = find_world("fish-scales/size").draw(3, size=256)
    _, level, _ = fish_scales.polar(large.parameters.scale, 256)
    assert np.abs(level[large.mask] - 1).max() < 0.06


def test_regression_has_the_pictures_of_the_rings_and_their_age() -> None:
    rings, years = find_world("fish-scales/rings").draw(8), find_world("fish-scales/regression").draw(8)
    assert np.array_equal(rings.image, years.image)
    assert years.label == rings.age == rings.label + 1
    assert find_world("fish-scales/regression").name_of(years) == str(rings.age)


def test_unknown_change_is_refused() -> None:
    world = find_world("damaged-parts")
    with pytest.raises(InputError, match="Did you mean 'remove-damage'"):
        world.intervene(world.draw(0).parameters, "remove-damages")


@pytest.mark.parametrize("grid", [2, 3])
def test_mosaic_has_the_explained_class_in_one_cell(grid: int) -> None:
    source, world = find_world("fish-scales/rings"), find_world(f"mosaic/{grid}x{grid}")
    places = set()
    for seed in range(12):
        drawing = world.draw(seed, size=grid * 64)
        own: mosaic.Mosaic = drawing.parameters
        down, across = divmod(own.explained, grid)
        expected = np.zeros((grid * 64, grid * 64), bool)
        expected[down * 64 : (down + 1) * 64, across * 64 : (across + 1) * 64] = True
        assert np.array_equal(drawing.mask, expected) and np.array_equal(drawing.distractors, ~expected)
        assert own.classes.count(int(drawing.label)) == 1 and own.classes[own.explained] == drawing.label
        assert len(set(own.classes)) == min(grid * grid, 8)
        cell = source.draw(int(own.sources[own.explained]), size=64)
        assert cell.label == drawing.label
        assert np.array_equal(drawing.image[expected].reshape(64, 64, 3), cell.image)
        places.add(own.explained)
    assert len(places) > 2


def test_mosaic_of_a_folder(tmp_path: Path) -> None:
    colours = {"blue": (0, 0, 255), "green": (0, 255, 0), "red": (255, 0, 0)}
    for name, colour in colours.items():
        (tmp_path / name).mkdir()
        for number in range(3):
            Image.new("RGB", (40 + 10 * number, 50), colour).save(tmp_path / name / f"{number}.png")
    for seed in range(6):
        drawing = mosaic.folder_mosaic(tmp_path, seed, grid=2, size=64)
        wanted = list(colours.values())[int(drawing.label)]
        assert (drawing.image[drawing.mask] == wanted).all()
        assert not (drawing.image[drawing.distractors] == wanted).all(-1).any()
    with pytest.raises(InputError, match="of different classes for 16 cells"):
        mosaic.folder_mosaic(tmp_path, 0, grid=4, size=64)
    with pytest.raises(InputError, match="expected two or more"):
        mosaic.classes_of_folder(tmp_path / "red")
    with pytest.raises(InputError, match="No such file"):
        mosaic.classes_of_folder(tmp_path / "nowhere")


def test_cells_that_make_no_mosaic_are_refused() -> None:
    cell = np.zeros((8, 8, 3), np.uint8)
    for cells, classes in ([cell] * 3, [0, 1, 2]), ([cell] * 4, [0, 0, 1, 2]), ([cell[:4]] * 4, [0, 1, 2, 3]):
        with pytest.raises(InputError, match="expected"):
            mosaic.mosaic(cells, classes, 0)


def test_a_product_of_two_patches_is_an_and() -> None:
    world = find_world("control/product")
    before = world.draw(4)
    for part in ("first", "second"):
        assert world.intervene(before.parameters, f"blacken-{part}").label == 0
    rest = world.intervene(before.parameters, "blacken-rest")
    assert rest.label == before.label > 0 and rest.image[rest.background].max() == 0


@pytest.mark.parametrize("kind", control.KINDS)
def test_attributions_of_the_control_sum_to_the_change_of_the_score(kind: str) -> None:
    world = find_world(f"control/{kind}")
    for seed in range(8):
        drawing = world.draw(seed)
        truth = world.truth(drawing.image, 0.3)
        plain = control.SCORES[kind](0.3, 0.3)
        assert truth["integrated-gradients"].sum() == pytest.approx(drawing.label - plain, abs=1e-12)
        assert all(np.abs(array[drawing.background]).max() == 0 for array in truth.values())
        assert replace(drawing.parameters, black=frozenset()) == drawing.parameters
