"""The colour bar: what the colours mean, in numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from sightline.pictures.colour import Scale, colourise
from sightline.pictures.layout import GREY, INK, NORMAL, PAPER, SMALL, beside, font, text_block, under
from sightline.pictures.overlay import UNSEEN

BAR_WIDTH = 18


def number(value: float) -> str:
    """The value with three significant digits."""
    return f"{value:#.3g}".rstrip(".") if value else "0"


def marks(scale: Scale, heat: NDArray[Any] | None = None) -> dict[float, str]:
    """The numbers beside the bar, with `≥` or `≤` where the finite values of `heat` go beyond its ends."""
    texts = {value: number(value) for value in {scale.high, scale.low} | ({0.0} if scale.signed else set())}
    finite = np.zeros(0) if heat is None else heat[np.isfinite(heat)]
    slack = 1e-6 * max(abs(scale.high), abs(scale.low))
    if finite.max(initial=-np.inf) > scale.high + slack:
        texts[scale.high] = f"≥ {texts[scale.high]}"
    if finite.min(initial=np.inf) < scale.low - slack:
        texts[scale.low] = f"≤ {texts[scale.low]}"
    return texts


def bar(scale: Scale, height: int, heat: NDArray[Any] | None = None) -> Image.Image:
    """An upright colour bar, `height` pixels, with its ends and zero in numbers; `heat` tells what lies beyond them."""
    texts, face = marks(scale, heat), font(NORMAL)
    colours = colourise(np.linspace(scale.high, scale.low, height)[:, None], scale)
    top, left = NORMAL // 2 + 3, BAR_WIDTH + 2
    width = left + 10 + int(max(face.getlength(text) for text in texts.values())) + 2
    sheet = Image.new("RGB", (width, height + 2 * top), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.rectangle((0, top - 1, BAR_WIDTH + 1, top + height), outline=GREY)
    sheet.paste(Image.fromarray(np.repeat(colours, BAR_WIDTH, axis=1)), (1, top))
    for value, text in texts.items():
        y = top + round((scale.high - value) / ((scale.high - scale.low) or 1) * (height - 1))
        draw.line((left, y, left + 5, y), fill=INK)
        draw.text((left + 10, y), text, INK, face, anchor="lm")
    return sheet


def legend(
    scale: Scale,
    height: int,
    width: int,
    *,
    heat: NDArray[Any] | None = None,
    seen: NDArray[np.bool_] | None = None,
) -> Image.Image:
    """The colour bar, and below it, within `width` pixels, what else the colours mean."""
    return under([bar(scale, height, heat), *notes(scale, width, heat, seen)], 6)


def notes(scale: Scale, width: int, heat: NDArray[Any] | None, seen: NDArray[np.bool_] | None) -> list[Image.Image]:
    """Lines for clipping, for pixels that the model did not see, and for values that are not finite."""
    lines = []
    if scale.percentile is not None:
        lines.append(text_block(f"clipped at {scale.percentile:g}th percentile", width, size=SMALL))
    if seen is not None and not seen.all():
        lines.append(swatch(np.full((14, BAR_WIDTH, 3), UNSEEN, np.uint8), "not seen by the model", width))
    if heat is not None and not np.isfinite(heat).all():
        lines.append(swatch(colourise(np.full((14, BAR_WIDTH), np.nan), scale), "not a finite number", width))
    return lines


def swatch(colours: NDArray[np.uint8], text: str, width: int) -> Image.Image:
    """A sample of a colour with its meaning beside it."""
    return beside([Image.fromarray(colours), text_block(text, width - BAR_WIDTH - 8, size=SMALL)], 8)
