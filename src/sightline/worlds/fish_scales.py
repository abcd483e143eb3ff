"""Fish scales whose age is known: a fish grows one ring (annulus) a year, and people count them under a lens.

`parameters` draws what a picture shows, `render` paints it at any size, `draw` does both from a seed. Neither the size
of the scale nor its mean brightness tells the age; a second scale, cut off at the right edge, has rings that do not
count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from sightline.errors import InputError
from sightline.worlds.drawing import Drawing, check_size, generator
from sightline.worlds.painting import Array, mean_over_pixel, noise, pixel_centres, waves

AGES = range(1, 9)
FIRST_RING, LAST_RING, LEAST_GAP = 0.17, 0.93, 0.092
NEIGHBOUR_SHARE = 0.4

_ANGLES = np.linspace(-np.pi, np.pi, 721)
_LEVELS = np.linspace(-0.25, 1.25, 3001)


@dataclass(frozen=True)
class Scale:
    """One scale. Lengths in half pictures; rings and their width in levels: 0 at the focus, 1 on the outline."""

    centre: tuple[float, float]
    radius: float
    focus: tuple[float, float]  # from the centre, in radii
    outline: tuple[float, ...]
    outline_phases: tuple[float, ...]
    wobble: tuple[float, ...]
    wobble_phases: tuple[float, ...]
    rings: tuple[float, ...]
    ring_width: float
    ring_depth: float
    circuli: float  # lines between focus and outline
    circuli_depth: float
    faded_side: float
    colour: tuple[float, float, float]
    added: tuple[float, ...] = ()  # those of the rings that were laid over the circuli, which do not crowd there


@dataclass(frozen=True)
class Picture:
    """All that a picture shows: the scale that is asked about, perhaps a neighbour, ground, light and noise."""

    scale: Scale
    neighbour: Scale | None
    ground: tuple[float, float, float]
    roughness: float
    light: tuple[float, float]
    grain: float
    noise_seed: int


@dataclass(frozen=True)
class ScaleDrawing(Drawing):
    """A painted scale: `mask` holds the rings that make the `age`, `scale_mask` their scale, `neighbour_mask` the other."""

    scale_mask: Array
    neighbour_mask: Array
    age: int


def draw(seed: int, *, size: int = 96, age: int | None = None, neighbour: bool | None = None) -> ScaleDrawing:
    """The picture of a seed, `size` pixels square; `age` and `neighbour` change these and leave the rest as it is.

    Raises InputError for an age outside 1 to 8, a size outside 32 to 1024, or a negative seed.
    """
    return render(parameters(generator(seed), age=age, neighbour=neighbour), size)


def parameters(rng: np.random.Generator, *, age: int | None = None, neighbour: bool | None = None) -> Picture:
    """What a picture shows, drawn at random: ages are equally likely, and every call uses as many draws."""
    if age is not None and age not in AGES:
        raise InputError(f"The age is {age}; expected 1 to 8.", "Give one of these, or None to draw one.")
    drawn_age, others, seen = int(rng.integers(1, 9)), int(rng.integers(1, 8)), bool(rng.random() < NEIGHBOUR_SHARE)
    age = drawn_age if age is None else age
    scale = _any_scale(rng, age)
    other = _any_scale(rng, (age - 1 + others) % len(AGES) + 1)
    other = replace(other, centre=(rng.uniform(1.15, 1.45), rng.uniform(-0.75, 0.75)))
    return Picture(
        scale=scale,
        neighbour=other if (seen if neighbour is None else neighbour) else None,
        ground=_colour(rng, 0.25, 0.8),
        roughness=rng.uniform(0.03, 0.09),
        light=(rng.uniform(-0.2, 0.2), rng.uniform(-0.2, 0.2)),
        grain=rng.uniform(0.04, 0.14),
        noise_seed=int(rng.integers(2**31)),
    )


def _any_scale(rng: np.random.Generator, age: int) -> Scale:
    side, turn = rng.uniform(0.08, 0.22), rng.uniform(-np.pi, np.pi)
    return Scale(
        centre=(rng.uniform(-0.14, -0.06), rng.uniform(-0.05, 0.05)),
        radius=rng.uniform(0.70, 0.82),
        focus=(side * np.cos(turn), side * np.sin(turn)),
        outline=tuple(rng.normal(0, (0.025, 0.015, 0.01, 0.006, 0.004))),
        outline_phases=_phases(rng, 5),
        wobble=tuple(rng.normal(0, (0.012, 0.012, 0.008, 0.006))),
        wobble_phases=_phases(rng, 4),
        rings=_ring_levels(rng, age),
        ring_width=rng.uniform(0.015, 0.021),
        ring_depth=rng.uniform(0.25, 0.6),
        circuli=rng.uniform(26, 36),
        circuli_depth=rng.uniform(0.08, 0.2),
        faded_side=turn,
        colour=_colour(rng, 0.45, 0.75),
    )


def _ring_levels(rng: np.random.Generator, age: int) -> tuple[float, ...]:
    """As many levels as years, anywhere between the first and the last but never closer than the least gap."""
    room = LAST_RING - FIRST_RING - LEAST_GAP * (age - 1)
    places = np.sort(rng.random(len(AGES))[:age])
    return tuple(float(v) for v in FIRST_RING + room * places + LEAST_GAP * np.arange(age))


def _phases(rng: np.random.Generator, count: int) -> tuple[float, ...]:
    return tuple(rng.uniform(-np.pi, np.pi, count))


def _colour(rng: np.random.Generator, dark: float, light: float) -> tuple[float, float, float]:
    grey, warmth, tint = rng.uniform(dark, light), rng.uniform(-0.04, 0.08), rng.uniform(-0.02, 0.02)
    return float(grey + warmth), float(grey + tint), float(grey - warmth)


def render(picture: Picture, size: int = 96) -> ScaleDrawing:
    """Paints a picture, `size` pixels square; the same picture at two sizes shows the same.

    Raises InputError for a size outside 32 to 1024.
    """
    check_size(size)
    rng = np.random.default_rng(picture.noise_seed)
    canvas = picture.ground + picture.roughness * (noise(rng, size, 12) + noise(rng, size, 40))[..., None]
    neighbour = np.zeros((size, size), bool)
    if picture.neighbour is not None:
        canvas, neighbour, _ = _lay(canvas, picture.neighbour, size)
    canvas, scale, rings = _lay(canvas, picture.scale, size)
    canvas = canvas * _light(picture, size) + picture.grain * noise(rng, size, 192)[..., None]
    image = np.round(255 * np.clip(canvas, 0, 1)).astype(np.uint8)
    age, other = len(picture.scale.rings), neighbour & ~scale
    return ScaleDrawing(
        *(image, rings, other, ~(scale | other), age - 1, picture, _facts(picture)),
        scale_mask=scale,
        neighbour_mask=other,
        age=age,
    )


def _facts(picture: Picture) -> dict[str, str | int | float]:
    return {
        "rings": len(picture.scale.rings),
        "radius": round(picture.scale.radius, 4),
        "neighbour": len(picture.neighbour.rings) if picture.neighbour else 0,
    }


def _light(picture: Picture, size: int) -> Array:
    across, down = picture.light
    at = pixel_centres(size)
    return np.asarray(1 + across * at[None, :, None] + down * at[:, None, None])


def _lay(canvas: Array, scale: Scale, size: int) -> tuple[Array, Array, Array]:
    """The canvas with a scale on it, where the scale is, and where its rings are."""
    angle, level, pixel = polar(scale, size)
    wobbly = level * (
        1
        + np.sin(np.pi * np.clip(level, 0, 1))
        * np.interp(angle, _ANGLES, waves(_ANGLES, scale.wobble, scale.wobble_phases, 1))
    )
    shade = mean_over_pixel(_LEVELS, _relief(scale), wobbly, 0.5 * pixel)
    shade *= 0.8 + 0.2 * np.cos(angle - scale.faded_side)
    cover = np.clip((1 - level) / pixel + 0.5, 0, 1)[..., None]
    painted = np.array(scale.colour) * (1 + shade[..., None])
    edges = np.array([(ring - 1.25 * scale.ring_width, ring + 1.25 * scale.ring_width) for ring in scale.rings]).ravel()
    return canvas + cover * (painted - canvas), level <= 1, np.searchsorted(edges, wobbly) % 2 == 1


def polar(scale: Scale, size: int) -> tuple[Array, Array, Array]:
    """For each pixel: its direction from the focus, its level, and how many levels a pixel is wide."""
    at, focus = pixel_centres(size), np.array(scale.centre) + scale.radius * np.array(scale.focus)
    across, down = (at - focus[0])[None, :], (at - focus[1])[:, None]
    angle = np.arctan2(down, across)
    reach = np.interp(angle, _ANGLES, _reach(scale))
    return angle, np.hypot(across, down) / reach, 2 / size / reach


def _reach(scale: Scale) -> Array:
    """From the focus to the outline, for each of the angles: a circle about the centre, made a little irregular."""
    along = scale.focus[0] * np.cos(_ANGLES) + scale.focus[1] * np.sin(_ANGLES)
    circle = -along + np.sqrt(1 - scale.focus[0] ** 2 - scale.focus[1] ** 2 + along**2)
    return np.asarray(scale.radius * circle * (1 + waves(_ANGLES, scale.outline, scale.outline_phases, 2)))


def _relief(scale: Scale) -> Array:
    """Brightness at each level: circuli that crowd at dark rings, with a mean of zero over the scale's area.

    Added rings come on top, and leave everything a few of their widths away as it is.
    """
    level = np.abs(_LEVELS)
    rings = _bands(level, [ring for ring in scale.rings if ring not in scale.added], scale.ring_width)
    turns = np.cumsum(scale.circuli * (1 + 0.8 * rings)) * (_LEVELS[1] - _LEVELS[0])
    relief = scale.circuli_depth * np.cos(2 * np.pi * turns) - scale.ring_depth * rings
    area = level * (level <= 1)
    added = scale.ring_depth * _bands(level, scale.added, scale.ring_width)
    return np.asarray(relief - (relief * area).sum() / area.sum() - added)


def _bands(level: Array, rings: Sequence[float], width: float) -> Array:
    """How far each level lies in a ring, from 0 to 1."""
    return np.asarray(np.exp(-0.5 * ((level[:, None] - np.array(rings)) / width) ** 2).sum(1))
