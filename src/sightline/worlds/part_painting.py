"""How a machined part, what it lies on, its damage and its tag are painted; every value is smooth over a pixel."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from sightline.worlds.painting import Array, mean_over_pixel, noise, pixel_centres
from sightline.worlds.part_pictures import Damage, Ground, Part, Tag

FAINTEST = 0.02  # of a cover; what covers less is not painted, so that masks are exact
_LINE = np.linspace(-2.2, 2.2, 1409)

Layer = tuple[Array, Array]  # colours (h, w, 3) or (3,), and how far they cover, (h, w) from 0 to 1


def local(size: int, centre: tuple[float, float], turn: float) -> tuple[Array, Array]:
    """Coordinates of each pixel along and across something at `centre`, turned by `turn`."""
    at, cos, sin = pixel_centres(size), np.cos(turn), np.sin(turn)
    across, down = (at - centre[0])[None, :], (at - centre[1])[:, None]
    return cos * across + sin * down, cos * down - sin * across


def box(x: Array, y: Array, half: tuple[float, float], corner: float) -> Array:
    """How far each place lies outside a box with round corners; negative inside."""
    away = np.stack([np.abs(x) - half[0] + corner, np.abs(y) - half[1] + corner])
    return np.asarray(np.minimum(away.max(0), 0) + np.hypot(*np.maximum(away, 0)) - corner)


def cover(outside: Array) -> Array:
    """The share of each pixel that is covered by what ends where `outside` is 0."""
    return np.clip(0.5 - outside * (len(outside) / 2), 0, 1)


def laid(canvas: Array, layer: Layer) -> Array:
    """The canvas with a layer on it."""
    colour, share = layer
    return np.asarray(canvas + share[..., None] * (colour - canvas))


def part_distance(part: Part, size: int) -> Array:
    """How far each pixel lies outside the part, whose holes are not seen."""
    x, y = local(size, part.centre, part.turn)
    if part.kind == "disc":
        return np.asarray(np.hypot(x, y) - part.half[0])
    return box(x, y, part.half, part.corner)


def holes_distance(part: Part, size: int) -> Array:
    """How far each pixel lies outside the nearest hole."""
    x, y = local(size, part.centre, part.turn)
    return np.asarray(np.min([np.hypot(x - a, y - b) - radius for a, b, radius in part.holes], axis=0))


def streaks(rng: np.random.Generator, where: Array, finest: int) -> Array:
    """Fine lines across `where`, of a strength of about 1: a sum of two random profiles."""
    half = np.full_like(where, 1 / len(where))
    total = np.zeros_like(where)
    for cells, strength in ((finest, 0.8), (finest // 4, 0.6)):
        values = np.interp(np.linspace(0, cells - 1, len(_LINE)), np.arange(cells), rng.standard_normal(cells))
        total += strength * mean_over_pixel(_LINE, values, where, half)
    return total


def lit(outside: Array, light: float) -> Array:
    """How far a slope that falls towards where `outside` grows faces the light, from -1 to 1."""
    down, across = np.gradient(outside, 2 / len(outside))
    return np.asarray(across * np.cos(light) + down * np.sin(light))


def ground(what: Ground, size: int) -> Array:
    """The colours (h, w, 3) of what the part lies on."""
    rng, (x, y) = np.random.default_rng(what.seed), local(size, (0.0, 0.0), what.turn)
    if what.kind == "wood":
        shade = 0.14 * streaks(rng, y + 0.03 * noise(rng, size, 5), 160) + 0.06 * noise(rng, size, 6)
        shade = shade - 0.45 * np.exp(-0.5 * ((np.mod(y + 0.3, 0.62) - 0.31) / 0.012) ** 2)
    elif what.kind == "felt":
        shade = 0.16 * noise(rng, size, 160) + 0.10 * noise(rng, size, 24)
    elif what.kind == "concrete":
        shade = 0.08 * noise(rng, size, 8) + 0.12 * noise(rng, size, 60)
        shade = shade - 0.35 * (noise(rng, size, 48) > 1.05)
    else:
        near = [np.abs(np.mod(v + 0.11, 0.22) - 0.11) for v in (x, y)]
        shade = 0.05 * noise(rng, size, 90) + 0.45 * cover(np.minimum(*near) - 0.006)
    return np.asarray(np.array(what.colour) * (1 + shade[..., None]))


def shadow(part: Part, light: float, size: int) -> Layer:
    """What the part darkens of the ground beside it."""
    x, y = -0.06 * np.cos(light), -0.06 * np.sin(light)
    moved = Part(**{**vars(part), "centre": (part.centre[0] + x, part.centre[1] + y)})
    beside = 1 - 0.7 * cover(part_distance(part, size))  # it is little that falls through the holes
    return np.zeros(3), 0.55 * beside * np.clip(0.5 - part_distance(moved, size) / 0.09, 0, 1)


def metal(part: Part, light: float, size: int) -> Layer:
    """The part with its finish and its bevel, open where it has holes."""
    outside, hole = part_distance(part, size), holes_distance(part, size)
    x, y = local(size, part.centre, part.turn)
    towards = x * np.cos(light - part.turn) + y * np.sin(light - part.turn)
    shade = (
        part.depth * _finish(part, x, y, light, size) + 0.16 * towards + 0.08 * np.exp(-((towards - 0.3) ** 2) / 0.04)
    )
    edge = np.clip(1 + outside / part.bevel, 0, 1) * lit(outside, light)
    sink = np.clip(1 - hole / 0.035, 0, 1) * lit(hole, light)
    colour = np.array(part.colour) * (1 + shade + 0.5 * edge - 0.4 * sink)[..., None]
    return colour, cover(outside) * (1 - cover(hole))


def walls(part: Part, light: float, size: int) -> Layer:
    """What the walls of the holes darken of the ground below them, most on the side of the light."""
    hole = holes_distance(part, size)
    return np.zeros(3), 0.6 * np.clip(1 + hole / 0.05, 0, 1) * np.clip(0.5 + lit(hole, light), 0, 1) * (hole < 0.03)


def _finish(part: Part, x: Array, y: Array, light: float, size: int) -> Array:
    rng = np.random.default_rng(part.seed)
    if part.finish == "brushed":
        return streaks(rng, y, 260) * (1 + 0.5 * noise(rng, size, 5)) + 0.4 * noise(rng, size, 10)
    if part.finish == "turned":
        rays = np.cos(2 * (np.arctan2(y, x) + part.turn - light))
        return streaks(rng, np.hypot(x, y), 260) + 2.0 * rays * np.clip(np.hypot(x, y) / 0.2, 0, 1)
    return 0.9 * noise(rng, size, 120) + 0.7 * noise(rng, size, 30)


def damage(what: Damage, surface: Array, light: float) -> Layer:
    """The damage on the colours of a surface: what shows, and where."""
    size = len(surface)
    shade, share = _SHAPES[what.kind](what, size, light)
    if what.kind == "stain":
        tint = np.array((0.86, 0.88, 0.84) if what.bright else (0.24, 0.14, 0.08))
        return tint * (1 + shade[..., None]), what.strength * share
    changed = surface + what.strength * ((1.05 - surface) if what.bright else -surface)
    return np.clip(changed * (1 + shade[..., None]), 0, 1.1), share


def _along(what: Damage, size: int) -> tuple[Array, Array]:
    x, y = local(size, what.centre, what.turn)
    return x, y


def _scratch(what: Damage, size: int, light: float) -> Layer:
    x, y = _along(what, size)
    rng = np.random.default_rng(what.seed)
    off = y - what.bend * (x**2 - 0.3 * what.reach**2) - 0.01 * noise(rng, size, 14)
    taper = np.clip(1 - (x / what.reach) ** 4, 0, 1)
    return 0.15 * np.sign(off) * np.sin(what.turn - light), cover(np.abs(off) - what.width * taper) * (taper > 0)


def _dent(what: Damage, size: int, light: float) -> Layer:
    x, y = _along(what, size)
    away = np.hypot(x, y * (1 + abs(what.bend))) / what.reach
    slope = (x * np.cos(light - what.turn) + y * np.sin(light - what.turn)) / what.reach
    return 0.9 * slope * (1 if what.bright else -1), 0.9 * np.clip(3 * (1 - away), 0, 1)


def _crack(what: Damage, size: int, light: float) -> Layer:
    x, y = _along(what, size)
    rng, near = np.random.default_rng(what.seed), np.full((size, size), np.inf)
    for start, turn, reach in _branches(rng, what):
        at = start + np.linspace(0, 1, 9)[:, None] * reach * np.array([np.cos(turn), np.sin(turn)])
        at[1:] += rng.normal(0, 0.09 * reach, (8, 2))
        for a, b in pairwise(at):
            near = np.minimum(near, _segment(x, y, a, b))
    return np.zeros((size, size)), cover(near - 0.55 * what.width)


def _branches(rng: np.random.Generator, what: Damage) -> list[tuple[Array, float, float]]:
    """A trunk and two branches: where each begins, its direction and its length."""
    forks = [
        (np.array([rng.uniform(-0.4, 0.4) * what.reach, 0.0]), sign * rng.uniform(0.5, 1.1), 0.7 * what.reach)
        for sign in (-1, 1)
    ]
    return [(np.array([-what.reach, 0.0]), 0.0, 2 * what.reach), *forks]


def _segment(x: Array, y: Array, a: Array, b: Array) -> Array:
    """The distance of each place from the way from a to b."""
    (dx, dy), (px, py) = b - a, (x - a[0], y - a[1])
    share = np.clip((px * dx + py * dy) / (dx**2 + dy**2), 0, 1)
    return np.asarray(np.hypot(px - share * dx, py - share * dy))


def _stain(what: Damage, size: int, light: float) -> Layer:
    x, y = _along(what, size)
    rng = np.random.default_rng(what.seed)
    ragged = (
        np.hypot(x, y * (1 + abs(what.bend))) / what.reach + 0.28 * noise(rng, size, 9) + 0.10 * noise(rng, size, 28)
    )
    near = np.hypot(x, y) < 1.5 * what.reach
    return 0.10 * noise(rng, size, 40), np.clip((1.0 - ragged) / 0.18, 0, 1) * near


_SHAPES = {"scratch": _scratch, "dent": _dent, "crack": _crack, "stain": _stain}


def tag(what: Tag, size: int) -> list[Layer]:
    """The layers of a sticker or a watermark, in their order."""
    x, y = local(size, what.centre, what.turn)
    return _watermark(what, x, y) if what.kind == "watermark" else _sticker(what, x, y)


def _sticker(what: Tag, x: Array, y: Array) -> list[Layer]:
    wide, high = what.half
    bars = np.random.default_rng(what.seed).random(11) < 0.55
    column = np.clip(np.floor((x / wide + 0.8) / 1.6 * 11), 0, 10).astype(int)
    code = bars[column] * cover(box(x, y - 0.3 * high, (0.8 * wide, 0.42 * high), 0.0))
    band = cover(box(x, y + 0.58 * high, (0.82 * wide, 0.18 * high), 0.02))
    return [
        (np.zeros(3), 0.45 * cover(box(x - 0.015, y - 0.02, what.half, 0.03))),
        (np.array(what.colour), cover(box(x, y, what.half, 0.03))),
        (0.55 * np.array(what.colour), np.maximum(band, code)),
    ]


def _watermark(what: Tag, x: Array, y: Array) -> list[Layer]:
    away, radius = np.hypot(x, y), what.half[0]
    ring = cover(np.abs(away - 0.86 * radius) - 0.1 * radius)
    letter = np.maximum(
        cover(box(x, y + 0.3 * radius, (0.45 * radius, 0.1 * radius), 0.0)),
        cover(box(x, y - 0.12 * radius, (0.11 * radius, 0.45 * radius), 0.0)),
    )
    return [(np.array(what.colour), 0.75 * np.maximum(ring, letter))]
