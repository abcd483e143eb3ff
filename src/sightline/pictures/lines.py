"""Numbers along a row of steps, a line each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from sightline.pictures.colour import colour_table
from sightline.pictures.figure import heading
from sightline.pictures.layout import GREY, INK, PAPER, SMALL, beside, font, framed, text_block, under

WIDTH, HEIGHT, LEFT = 640, 280, 40  # of the plot, and of the room for its numbers
LONG = 40  # pixels of a step's name from which all of them stand upright
COLOURS = "viridis"


def lines(
    values: Mapping[str, NDArray[Any]],
    steps: Sequence[str],
    *,
    title: str,
    facts: Sequence[str],
    caption: str,
    level: float,
) -> Image.Image:
    """Each name's values (steps,), from -1 or 0 to 1, as a line with its name beside it; and a line at `level`."""
    low = min(0.0, *(float(line.min()) for line in values.values()))
    low = -1.0 if low < -0.05 else 0.0
    widest = max(ceil(font(SMALL).getlength(step)) for step in steps)
    sheet, draw = _paper(low, level, below=widest + 8 if widest > LONG else 2 * SMALL)
    table = colour_table(COLOURS)
    spread = table[np.linspace(0, 200, len(values)).round().astype(int)].tolist()
    colours = [(red, green, blue) for red, green, blue in spread]
    across = _across(len(steps))
    for i, (line, colour) in enumerate(zip(values.values(), colours)):  # the first is the broadest: all can be seen
        points = [(x, _down(value, low)) for x, value in zip(across, np.clip(line, low, 1))]
        draw.line(points, fill=colour, width=3 + 2 * (len(values) - 1 - i))
        for x, y in points:
            draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=colour)
    _name_steps(sheet, across, steps, widest)
    names = [text_block(f"— {name}", 220, bold=True, ink=colour) for name, colour in zip(values, colours)]
    body = beside([sheet, under(names, 4)], 12)
    below = text_block(caption, body.width, size=SMALL, ink=GREY)
    return framed(under([*heading(title, facts, None, body.width), body, below], 10), 16)


def _across(count: int) -> list[float]:
    return [LEFT + 20 + i * (WIDTH - LEFT - 40) / max(count - 1, 1) for i in range(count)]


def _down(value: float, low: float) -> float:
    return 10 + (1 - value) / (1 - low) * HEIGHT


def _paper(low: float, level: float, below: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """An empty plot with its numbers on the left, and room below."""
    sheet = Image.new("RGB", (WIDTH, HEIGHT + 20 + below), PAPER)
    draw = ImageDraw.Draw(sheet)
    for value in [v for v in (-1.0, -0.5, 0.0, 0.5, 1.0) if v >= low] + [level]:
        y, strong = _down(value, low), value in (level, 0.0)
        draw.line((LEFT, y, WIDTH, y), fill=GREY if strong else (225, 225, 225), width=2 if value == level else 1)
        draw.text((LEFT - 6, y), f"{value:g}", INK, font(SMALL), anchor="rm")
    return sheet, draw


def _name_steps(sheet: Image.Image, across: Sequence[float], steps: Sequence[str], widest: int) -> None:
    """The steps' names below, upright where they are long."""
    for x, name in zip(across, steps):
        label = text_block(name, widest + 2, size=SMALL)
        label = label.rotate(90, expand=True) if widest > LONG else label
        sheet.paste(label, (round(x) - label.width // 2, HEIGHT + 18))
