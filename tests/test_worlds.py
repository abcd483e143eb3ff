"""The fish scales show what they say: as many rings as years, and nothing else that tells the age."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import map_coordinates
from scipy.signal import find_peaks
from scipy.stats import binomtest, chisquare
from skimage.measure import label

from sightline.errors import InputError, ModelError
from sightline.worlds import DEMO_SEED, WORLDS, find_world
from sightline.worlds.fish_scales import AGES, NEIGHBOUR_SHARE, Picture, draw, parameters, render

SEEDS = range(400)


def picture_of(seed: int, **wanted: int | bool) -> Picture:
    return parameters(np.random.default_rng(seed), **wanted)


def along_ray(values: np.ndarray, picture: Picture, direction: float) -> np.ndarray:
    """Values from the focus outwards to the outline or a little beyond, in steps of half a pixel."""
    size = len(values)
    focus = np.array(picture.scale.centre) + picture.scale.radius * np.array(picture.scale.focus)
    x, y = (focus + 1) / 2 * size - 0.5
    steps = np.arange(0, 0.55 * size, 0.5)
    where = [y + steps * np.sin(direction), x + steps * np.cos(direction)]
    return map_coordinates(values.astype(float), where, order=1, mode="nearest")


@pytest.mark.parametrize("seed", range(24))
def test_mask_is_as_many_closed_rings_as_the_age(seed: int) -> None:
    picture = picture_of(seed, age=seed % 8 + 1)
    drawing = render(picture, 512)
    assert drawing.age == seed % 8 + 1
    assert label(drawing.mask, connectivity=2).max() == drawing.age
    for direction in np.linspace(0, 2 * np.pi, 7):
        crossed = along_ray(drawing.mask, picture, direction) > 0.5
        assert (np.diff(crossed.astype(int)) == 1).sum() == drawing.age


@pytest.mark.parametrize("seed", range(24))
def test_dark_bands_of_the_picture_are_the_masked_ones(seed: int) -> None:
    picture = picture_of(seed, age=seed % 8 + 1)
    plain = replace(picture, grain=0, light=(0, 0), scale=replace(picture.scale, circuli_depth=0))
    drawing = render(plain, 512)
    inside = along_ray(drawing.scale_mask, plain, 2.0) > 0.99
    darkness = 255 - along_ray(drawing.image.mean(2), plain, 2.0)[inside]
    masked = along_ray(drawing.mask, plain, 2.0)[inside]
    peaks, _ = find_peaks(darkness, prominence=4)
    assert len(peaks) == drawing.age
    assert (masked[peaks] > 0.5).all()


def test_masked_pixels_are_darker_than_the_rest_of_the_scale() -> None:
    for seed in range(40):
        drawing = draw(seed)
        grey = drawing.image.mean(2)
        assert grey[drawing.mask].mean() < grey[drawing.scale_mask & ~drawing.mask].mean() - 3


def test_rings_lie_on_the_whole_scale_and_the_neighbour_is_cut_off_at_the_right() -> None:
    for seed in range(60):
        drawing = draw(seed, neighbour=True)
        assert not (drawing.mask & ~drawing.scale_mask).any()
        assert not (drawing.neighbour_mask & drawing.scale_mask).any()
        assert drawing.neighbour_mask[:, -1].any() and drawing.neighbour_mask.mean() > 0.02
        assert not drawing.neighbour_mask[:, :48].any()
        assert not draw(seed, neighbour=False).neighbour_mask.any()


def test_scale_is_not_cut_off() -> None:
    for seed in range(100):
        mask = draw(seed, size=64).scale_mask
        assert not np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]]).any()


def test_neighbour_is_of_another_age_and_often_there() -> None:
    pictures = [picture_of(seed) for seed in range(1000)]
    others = [p.neighbour for p in pictures if p.neighbour is not None]
    assert binomtest(len(others), 1000, NEIGHBOUR_SHARE).pvalue > 1e-3
    assert all(p.neighbour is None or len(p.neighbour.rings) != len(p.scale.rings) for p in pictures)
    assert {len(other.rings) for other in others} == set(AGES)


def test_same_seed_same_picture_and_other_seeds_other_pictures() -> None:
    first, again, other = draw(5), draw(5), draw(6)
    assert np.array_equal(first.image, again.image) and np.array_equal(first.mask, again.mask)
    assert not np.array_equal(first.image, other.image)


def test_ages_are_equally_likely() -> None:
    counts = np.bincount([len(picture_of(seed).scale.rings) for seed in range(2000)], minlength=9)[1:]
    assert chisquare(counts).pvalue > 1e-3


def test_asking_for_an_age_changes_the_rings_alone() -> None:
    young, old = picture_of(3, age=2, neighbour=False), picture_of(3, age=7, neighbour=False)
    assert (len(young.scale.rings), len(old.scale.rings)) == (2, 7)
    assert replace(young, scale=replace(young.scale, rings=old.scale.rings)) == old


@pytest.mark.parametrize("size", [64, 96, 128])
def test_sizes_show_the_same(size: int) -> None:
    for seed in range(12):
        small, large = draw(seed, size=size), draw(seed, size=2 * size)
        halved = large.image.reshape(size, 2, size, 2, 3).mean((1, 3))
        assert np.abs(halved - small.image).mean() < 2.5
        assert abs(large.mask.mean() - small.mask.mean()) < 0.02
        assert abs(large.scale_mask.mean() - small.scale_mask.mean()) < 0.005


def test_nothing_but_the_rings_tells_the_age() -> None:
    """For 400 independent pairs r has a deviation of 1/20: 0.2 is four of them."""
    drawings = [draw(seed, size=64) for seed in SEEDS]
    ages = [drawing.age for drawing in drawings]
    told = {
        "area": [drawing.scale_mask.mean() for drawing in drawings],
        "radius": [picture_of(seed).scale.radius for seed in SEEDS],
        "brightness": [drawing.image.mean() for drawing in drawings],
        "brightness of the scale": [drawing.image[drawing.scale_mask].mean() for drawing in drawings],
        "neighbour": [drawing.neighbour_mask.any() for drawing in drawings],
    }
    correlations = {name: np.corrcoef(values, ages)[0, 1] for name, values in told.items()}
    assert all(abs(r) < 0.2 for r in correlations.values()), correlations


@pytest.mark.parametrize("wrong", [{"age": 0}, {"age": 9}, {"size": 8}, {"size": 5000}])
def test_what_cannot_be_drawn_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(InputError, match="expected"):
        draw(0, **wrong)
    with pytest.raises(InputError, match="expected 0 or more"):
        draw(-1)


def test_worlds_are_found_by_name_and_labelled() -> None:
    world = find_world("fish-scales")
    assert world is WORLDS["fish-scales/rings"] is find_world("fish-scales/rings")
    drawing = world.draw(DEMO_SEED, size=world.size)
    assert world.name_of(drawing) == "5 rings" and world.labels[0] == "1 ring"
    assert drawing.neighbour_mask.any()
    with pytest.raises(ModelError, match="Did you mean 'fish-scales/rings'"):
        find_world("fish-scale/ring")


def test_worlds_load_no_framework() -> None:
    program = "import sys, sightline.worlds; print(sorted({'torch', 'keras', 'jax', 'tensorflow'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_shipped_weights_are_small() -> None:
    files = {world.weights for world in WORLDS.values() if world.weights}
    assert len(files) == 13
    assert {10_000 < file.stat().st_size < 1_000_000 for file in files} == {True}
    assert all(file.stat().st_size < 200_000 for file in files if "parts" in file.name)
