"""Fish scales for other nets than the ring counter: ages told by the size of the scale, ages as a quantity.

Also what can be changed in any picture of a fish scale: one ring more, another size, another ground, the neighbour.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from sightline.errors import InputError
from sightline.worlds import fish_scales
from sightline.worlds.drawing import Intervention, as_shown, generator, unchanged
from sightline.worlds.fish_scales import AGES, FIRST_RING, LAST_RING, Picture, ScaleDrawing
from sightline.worlds.painting import Array

LEAST_RADIUS, RADIUS_STEP, RADIUS_SPREAD = 0.26, 0.08, 0.015
OUTLINE = 0.04  # of the radius, to either side


def draw_by_size(seed: int, *, size: int = 64) -> ScaleDrawing:
    """The scale of a seed, alone, whose radius tells the age, while its rings are as many as on any other scale.

    Raises InputError for a size outside 32 to 1024, or a negative seed.
    """
    rng = generator(seed, 1)
    radius = LEAST_RADIUS + RADIUS_STEP * rng.integers(len(AGES)) + rng.uniform(-RADIUS_SPREAD, RADIUS_SPREAD)
    picture = fish_scales.parameters(generator(seed), neighbour=False)
    return render_by_size(replace(picture, scale=replace(picture.scale, radius=float(radius))), size)


def render_by_size(picture: Picture, size: int = 64) -> ScaleDrawing:
    """The painted picture with the class of its scale's size; the outline matters, rings and the neighbour distract."""
    drawing = fish_scales.render(picture, size)
    step = round((picture.scale.radius - LEAST_RADIUS) / RADIUS_STEP)
    outline = _outline(picture, size)
    distractors = (drawing.neighbour_mask | drawing.mask) & ~outline
    background = drawing.background & ~outline
    label = int(np.clip(step, 0, len(AGES) - 1))
    return replace(drawing, mask=outline, distractors=distractors, background=background, label=label)


def _outline(picture: Picture, size: int) -> Array:
    _, level, pixel = fish_scales.polar(picture.scale, size)
    return np.asarray(np.abs(level - 1) <= np.maximum(OUTLINE, pixel))


def draw_years(seed: int, *, size: int = 96, age: int | None = None, neighbour: bool | None = None) -> ScaleDrawing:
    """The picture of `fish_scales.draw`, whose answer is the age in years instead of a class."""
    return _in_years(fish_scales.draw(seed, size=size, age=age, neighbour=neighbour))


def render_years(picture: Picture, size: int = 96) -> ScaleDrawing:
    """The picture of `fish_scales.render`, whose answer is the age in years instead of a class."""
    return _in_years(fish_scales.render(picture, size))


def _in_years(drawing: ScaleDrawing) -> ScaleDrawing:
    return replace(drawing, label=float(drawing.age))


def add_ring(picture: Picture) -> Picture:
    """One ring more, where there is most room for it; InputError on a scale of 8 rings."""
    scale = picture.scale
    if len(scale.rings) == len(AGES):
        raise InputError("A ring was to be added to a scale of 8 rings.", "Choose a younger fish: draw(seed, age=7).")
    ring = _roomiest(scale.rings)
    rings = tuple(sorted((*scale.rings, ring)))
    return replace(picture, scale=replace(scale, rings=rings, added=(*scale.added, ring)))


def _roomiest(rings: tuple[float, ...]) -> float:
    """The level between the first and the last that is farthest from every ring."""
    levels = np.linspace(FIRST_RING, LAST_RING, 1001)
    return float(levels[np.abs(levels[:, None] - np.array(rings)).min(1).argmax()])


def rescale(picture: Picture) -> Picture:
    """The scale larger or smaller by a year of `draw_by_size`, with the same rings at the same levels."""
    middle = LEAST_RADIUS + RADIUS_STEP * (len(AGES) - 1) / 2
    step = -RADIUS_STEP if picture.scale.radius > middle else RADIUS_STEP
    return replace(picture, scale=replace(picture.scale, radius=picture.scale.radius + step))


def swap_ground(picture: Picture) -> Picture:
    """The ground in another shade: dark for bright, bright for dark."""
    red, green, blue = picture.ground
    return replace(picture, ground=(1.05 - red, 1.05 - green, 1.05 - blue))


def take_neighbour(picture: Picture) -> Picture:
    """No other scale in the picture."""
    return replace(picture, neighbour=None)


def interventions(**answers: Any) -> dict[str, Intervention]:
    """The changes of a fish scale, each with its right answer: that of before, unless `answers` has another."""
    changes = {
        "add-ring": add_ring,
        "rescale": rescale,
        "swap-background": swap_ground,
        "remove-neighbour": take_neighbour,
    }
    return {name: Intervention(f, answers.get(name.replace("-", "_"), unchanged)) for name, f in changes.items()}


BY_RINGS, BY_SIZE = interventions(add_ring=as_shown), interventions(rescale=as_shown)
del BY_SIZE["remove-neighbour"]  # its pictures have none
