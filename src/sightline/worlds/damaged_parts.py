"""Machined parts, sound or damaged, and a tag that may give the answer away.

`parameters` of `part_pictures` draws what a picture shows, `render` paints it at any size, `draw` and `draw_cheating` do
both from a seed. Damages are dark or bright, on four metals, three finishes and four grounds. In honest pictures the tag
says nothing; in the others every damaged part has one, and no sound part.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from sightline.worlds import part_painting as paint
from sightline.worlds.drawing import Drawing, Intervention, as_shown, check_size, generator, unchanged
from sightline.worlds.painting import Array, noise
from sightline.worlds.part_pictures import Picture, parameters

LABELS = ("sound", "damaged")


def draw(seed: int, *, size: int = 64, damaged: bool | None = None, tagged: bool | None = None) -> Drawing:
    """The part of a seed, which has a tag or not whether it is damaged or not.

    `damaged` and `tagged` change these and leave the rest as it is. Raises InputError for a size outside 32 to 1024, or
    a negative seed.
    """
    return _drawn(seed, size, damaged, tagged, honest=True)


def draw_cheating(seed: int, *, size: int = 64, damaged: bool | None = None, tagged: bool | None = None) -> Drawing:
    """The part of a seed, which has a tag if it is damaged; otherwise as `draw`."""
    return _drawn(seed, size, damaged, tagged, honest=False)


def _drawn(seed: int, size: int, damaged: bool | None, tagged: bool | None, *, honest: bool) -> Drawing:
    picture = parameters(generator(seed), honest=honest)
    damaged, tagged = picture.damaged if damaged is None else damaged, picture.tagged if tagged is None else tagged
    return render(replace(picture, damaged=damaged, tagged=tagged), size)


def render(picture: Picture, size: int = 64) -> Drawing:
    """Paints a picture, `size` pixels square; the same picture at two sizes shows the same.

    Nothing outside the masks of damage and tag depends on either. Raises InputError for a size outside 32 to 1024.
    """
    check_size(size)
    canvas = paint.ground(picture.ground, size)
    for below in (paint.shadow, paint.walls):
        canvas = paint.laid(canvas, below(picture.part, picture.light, size))
    colour, share = paint.metal(picture.part, picture.light, size)
    part, hurt = share > 0, np.zeros((size, size), bool)
    canvas = paint.laid(canvas, (colour, share))
    if picture.damaged:
        what, where = paint.damage(picture.damage, canvas, picture.light)
        canvas, hurt = _kept(canvas, [(what, where * _whole(picture, size))])
    canvas, tagged = _kept(canvas, paint.tag(picture.tag, size) if picture.tagged else [])
    rng = np.random.default_rng(picture.noise_seed)
    canvas = canvas + picture.grain * (noise(rng, size, 160) + 0.7 * noise(rng, size, 60))[..., None]
    image = np.round(255 * np.clip(canvas, 0, 1)).astype(np.uint8)
    hurt = hurt & ~tagged
    return Drawing(image, hurt, tagged, ~(part | tagged), int(picture.damaged), picture, _facts(picture, hurt))


def _kept(canvas: Array, layers: list[paint.Layer]) -> tuple[Array, Array]:
    """The canvas with the layers on it, and where they changed it; what hardly covers is left out."""
    changed = np.zeros(canvas.shape[:2], bool)
    for colour, share in layers:
        share = np.where(share < paint.FAINTEST, 0, share)
        canvas, changed = paint.laid(canvas, (colour, share)), changed | (share > 0)
    return canvas, changed


def _whole(picture: Picture, size: int) -> Array:
    """Where the part's surface is, without its holes: only there can it be damaged."""
    inside = paint.cover(paint.part_distance(picture.part, size) + 0.02)
    return np.asarray(inside * (1 - paint.cover(paint.holes_distance(picture.part, size) - 0.02)))


def _facts(picture: Picture, mask: Array) -> dict[str, str | int | float]:
    tone = "bright" if picture.damage.bright else "dark"
    return {
        "damage": f"{tone} {picture.damage.kind}" if picture.damaged else "none",
        "damage_share": round(float(mask.mean()), 5),
        "tag": picture.tag.kind if picture.tagged else "none",
        "background": picture.ground.kind,
        "part": picture.part.kind,
        "metal": picture.part.metal,
        "finish": picture.part.finish,
    }


def _swapped(picture: Picture) -> Picture:
    return replace(picture, ground=picture.other_ground, other_ground=picture.ground)


def as_tagged(before: Drawing, after: Drawing) -> float:
    """The answer is "damaged" where there is a tag: that of a net that goes by it."""
    return int(after.parameters.tagged)


def interventions(by_damage: Any, by_tag: Any) -> dict[str, Intervention]:
    """The changes of a picture, each with the right answer of a net after a change of the damage, and of the tag."""
    return {
        "remove-damage": Intervention(lambda picture: replace(picture, damaged=False), by_damage),
        "add-damage": Intervention(lambda picture: replace(picture, damaged=True), by_damage),
        "take-tag-off": Intervention(lambda picture: replace(picture, tagged=False), by_tag),
        "put-tag-on": Intervention(lambda picture: replace(picture, tagged=True), by_tag),
        "swap-background": Intervention(_swapped, unchanged),
    }


HONEST, CHEATING = interventions(as_shown, unchanged), interventions(unchanged, as_tagged)
