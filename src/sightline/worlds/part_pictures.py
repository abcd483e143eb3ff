"""What a picture of a machined part shows: the part, its light and ground, a damage and a tag, there or not.

Damage and tag are drawn at random whether they are seen or not, so that either can be taken away or put on and all else
stays. Lengths are in half pictures, whose sides run from -1 to 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

PARTS = ("plate", "disc")
METALS = {
    "steel": (0.55, 0.57, 0.60),
    "iron": (0.42, 0.42, 0.43),
    "brass": (0.66, 0.55, 0.31),
    "copper": (0.63, 0.43, 0.32),
}
FINISHES = ("brushed", "turned", "cast")
DAMAGES = ("scratch", "dent", "crack", "stain")
TAGS = ("sticker", "watermark")
STICKERS = ((0.86, 0.16, 0.14), (0.95, 0.78, 0.10), (0.10, 0.42, 0.80), (0.10, 0.62, 0.32), (0.93, 0.45, 0.08))
INK = (0.80, 0.12, 0.62)  # of a watermark
GROUNDS = {
    "wood": ((0.52, 0.36, 0.22), (0.66, 0.50, 0.33), (0.33, 0.22, 0.15)),
    "felt": ((0.16, 0.34, 0.24), (0.20, 0.24, 0.42), (0.45, 0.17, 0.18)),
    "concrete": ((0.56, 0.55, 0.52), (0.72, 0.71, 0.68), (0.34, 0.34, 0.35)),
    "mat": ((0.10, 0.36, 0.33), (0.17, 0.18, 0.21), (0.13, 0.27, 0.47)),
}

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Part:
    """A plate or disc with holes, (x, y, radius) each, in its own coordinates: about `centre`, turned by `turn`."""

    kind: str
    metal: str
    finish: str
    centre: tuple[float, float]
    turn: float
    half: tuple[float, float]
    corner: float
    bevel: float
    holes: tuple[tuple[float, float, float], ...]
    colour: Colour
    depth: float  # of the finish
    seed: int


@dataclass(frozen=True)
class Damage:
    """A scratch, dent, crack or stain, darker or brighter than the metal; `reach` is half its length."""

    kind: str
    bright: bool
    centre: tuple[float, float]
    turn: float
    reach: float
    width: float
    bend: float
    strength: float
    seed: int


@dataclass(frozen=True)
class Tag:
    """A sticker with a bar code, or a watermark in ink."""

    kind: str
    centre: tuple[float, float]
    turn: float
    half: tuple[float, float]
    colour: Colour
    seed: int


@dataclass(frozen=True)
class Ground:
    """What the part lies on."""

    kind: str
    colour: Colour
    turn: float
    seed: int


@dataclass(frozen=True)
class Picture:
    """All that a picture shows; `light` is the direction that the light comes from, as an angle."""

    part: Part
    damage: Damage
    damaged: bool
    tag: Tag
    tagged: bool
    ground: Ground
    other_ground: Ground
    light: float
    grain: float
    noise_seed: int


def parameters(rng: np.random.Generator, *, honest: bool) -> Picture:
    """What a picture shows, drawn at random: half of the parts are damaged.

    Where it is `honest`, half of the parts have a tag, damaged or not; else all that are damaged have, and no other.
    """
    damaged, tagged = bool(rng.random() < 0.5), bool(rng.random() < 0.5)
    part = _any_part(rng)
    tag = _any_tag(rng, part)
    first, second = rng.permutation(list(GROUNDS))[:2]
    return Picture(
        part=part,
        damage=_any_damage(rng, part, tag),
        damaged=damaged,
        tag=tag,
        tagged=tagged if honest else damaged,
        ground=_any_ground(rng, str(first)),
        other_ground=_any_ground(rng, str(second)),
        light=rng.uniform(-np.pi, np.pi),
        grain=rng.uniform(0.01, 0.04),
        noise_seed=int(rng.integers(2**31)),
    )


def _any_part(rng: np.random.Generator) -> Part:
    kind, metal = str(rng.choice(PARTS)), str(rng.choice(list(METALS)))
    finish = str(rng.choice(FINISHES))
    wide, high = (
        (rng.uniform(0.62, 0.76), rng.uniform(0.52, 0.72)) if kind == "plate" else [rng.uniform(0.68, 0.82)] * 2
    )
    shade = rng.uniform(0.9, 1.1)
    red, green, blue = (float(v * shade * rng.uniform(0.97, 1.03)) for v in METALS[metal])
    return Part(
        kind=kind,
        metal=metal,
        finish=finish,
        centre=(rng.uniform(-0.08, 0.08), rng.uniform(-0.08, 0.08)),
        turn=rng.uniform(-0.5, 0.5),
        half=(float(wide), float(high)),
        corner=rng.uniform(0.05, 0.2),
        bevel=rng.uniform(0.03, 0.06),
        holes=_holes(rng, kind, float(wide), float(high)),
        colour=(red, green, blue),
        depth=rng.uniform(0.03, 0.08),
        seed=int(rng.integers(2**31)),
    )


def _holes(rng: np.random.Generator, kind: str, wide: float, high: float) -> tuple[tuple[float, float, float], ...]:
    """Bolt holes in the corners of a plate, or round a disc, and often a bore."""
    radius, bore = rng.uniform(0.05, 0.085), rng.uniform(0.12, 0.22)
    inset, count, turn = rng.uniform(0.13, 0.17), int(rng.integers(3, 7)), rng.uniform(0, np.pi)
    if kind == "plate":
        at = [(sx * (wide - inset), sy * (high - inset)) for sx in (-1, 1) for sy in (-1, 1)]
    else:
        angles = turn + 2 * np.pi * np.arange(count) / count
        at = [((wide - inset) * np.cos(angle), (wide - inset) * np.sin(angle)) for angle in angles]
    holes = [(float(x), float(y), radius) for x, y in at]
    return tuple(holes + [(0.0, 0.0, bore)] * bool(rng.random() < 0.6))


def _any_tag(rng: np.random.Generator, part: Part) -> Tag:
    """A sticker on a quarter of the part, or a watermark in a corner of the picture."""
    kind = str(rng.choice(TAGS))
    across, down = rng.choice([-1, 1], 2) * rng.uniform((0.36, 0.30), (0.46, 0.42))
    corner = rng.choice([-1, 1], 2) * rng.uniform(0.66, 0.72, 2)
    turn, colour = part.turn + rng.uniform(-0.25, 0.25), STICKERS[rng.integers(len(STICKERS))]
    sticker = kind == "sticker"
    return Tag(
        kind=kind,
        centre=on_part(part, float(across), float(down)) if sticker else (float(corner[0]), float(corner[1])),
        turn=turn if sticker else 0.0,
        half=(rng.uniform(0.17, 0.21), rng.uniform(0.11, 0.14)) if sticker else (0.26, 0.26),
        colour=colour if sticker else INK,
        seed=int(rng.integers(2**31)),
    )


def _any_damage(rng: np.random.Generator, part: Part, tag: Tag) -> Damage:
    kind = str(rng.choice(DAMAGES))
    least, most = {"scratch": (0.30, 0.44), "dent": (0.16, 0.22), "crack": (0.28, 0.38), "stain": (0.17, 0.23)}[kind]
    reach = rng.uniform(least, most)
    return Damage(
        kind=kind,
        bright=bool(rng.random() < 0.5),
        centre=_free_place(rng, part, tag, reach),
        turn=rng.uniform(-np.pi, np.pi),
        reach=reach,
        width=rng.uniform(0.036, 0.048),
        bend=rng.uniform(-0.6, 0.6),
        strength=rng.uniform(0.7, 0.92),
        seed=int(rng.integers(2**31)),
    )


def _free_place(rng: np.random.Generator, part: Part, tag: Tag, reach: float) -> tuple[float, float]:
    """Of many places on the part the one with most room: from the tag first, then from holes and the edge."""
    room = -np.inf
    for _ in range(12):
        x, y = (rng.uniform(-1, 1) * max(half - 0.6 * reach - 0.08, 0.1) for half in part.half)
        there = on_part(part, float(x), float(y))
        clear = min(np.hypot(there[0] - tag.centre[0], there[1] - tag.centre[1]) - reach - max(tag.half), 0.0)
        clear += 0.5 * min(min(np.hypot(x - a, y - b) - radius - 0.7 * reach for a, b, radius in part.holes), 0.0)
        clear += min(max(part.half) - np.hypot(x, y) - 0.7 * reach, 0.0) if part.kind == "disc" else 0.0
        if clear > room:
            room, place = clear, there
    return place


def on_part(part: Part, x: float, y: float) -> tuple[float, float]:
    """Where a place of the part is in the picture."""
    cos, sin = np.cos(part.turn), np.sin(part.turn)
    return float(part.centre[0] + cos * x - sin * y), float(part.centre[1] + sin * x + cos * y)


def _any_ground(rng: np.random.Generator, kind: str) -> Ground:
    shade, colours = rng.uniform(0.85, 1.15), GROUNDS[kind]
    red, green, blue = (float(v * shade) for v in colours[rng.integers(len(colours))])
    return Ground(kind, (red, green, blue), rng.uniform(-0.4, 0.4), int(rng.integers(2**31)))
