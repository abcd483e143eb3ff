"""Many explanations in one picture: a row an image, a column a method."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sightline.errors import InputError
from sightline.pictures.bar import bar, legend
from sightline.pictures.colour import Scale, scale_of
from sightline.pictures.layout import (
    NORMAL,
    SMALL,
    beside,
    fitted,
    framed,
    resized_heat,
    resized_mask,
    resized_picture,
    table,
    text_block,
    under,
)
from sightline.pictures.overlay import as_rgb, check_same_pixels, overlay
from sightline.pictures.words import words

CELL, ROW_LABEL, LEGEND, TEXT = 256, 130, 130, 480  # pixels: longest side; widths; least width of the note
SHARED = "One colour scale for all maps: equal colours are equal values."
OWN = "Each map has its own colour scale: compare where the colours are, not how strong."


class Row(NamedTuple):
    """An image (h, w, 3) with its maps (h, w), and which pixels the model saw."""

    image: NDArray[np.uint8]
    heats: Sequence[NDArray[Any]]
    seen: NDArray[np.bool_] | None = None

    def shown(self) -> list[NDArray[Any]]:
        """The values of each map that the model saw."""
        return [heat if self.seen is None else heat[self.seen] for heat in self.heats]


def grid(
    rows: Sequence[Row],
    *,
    row_labels: Sequence[str],
    column_labels: Sequence[str],
    shared_scale: bool,
    percentile: float | None = None,
) -> Image.Image:
    """Overlays in rows and columns, after the bare picture, and a note that says whether they share a colour scale.

    With `shared_scale` one colour bar holds for all; else each overlay has its own. InputError: labels that do not
    match the rows and their maps. Other errors as in `scale_of` and `overlay`.
    """
    check_labels(rows, row_labels, column_labels)
    shown = [heat for row in rows for heat in row.shown()]
    shared = scale_of(shown, percentile=percentile) if shared_scale else None
    cells = [
        [text_block(name, ROW_LABEL, bold=True), *drawn_row(row, shared, percentile)]
        for name, row in zip(row_labels, rows)
    ]
    header = [text_block(name, CELL, bold=True) for name in ("", "picture", *column_labels)]
    body = table([header, *cells], 14)
    if shared:
        every = np.concatenate([np.ravel(heat) for heat in shown])
        body = beside([body, framed(legend(shared, CELL, LEGEND, heat=every), NORMAL)], 6)
    return framed(under([body, note(rows, shared_scale, percentile, max(body.width, TEXT))], 12), 16)


def check_labels(rows: Sequence[Row], row_labels: Sequence[str], column_labels: Sequence[str]) -> None:
    """InputError unless each row and each column has one label, and every map the pixels of its picture."""
    counts = sorted({len(row.heats) for row in rows})
    if not rows or len(row_labels) != len(rows) or counts != [len(column_labels)]:
        raise InputError(
            f"{len(rows)} rows of {counts} maps came with {len(row_labels)} and {len(column_labels)} labels.",
            "Give one label for each row, and one for each map of a row; all rows have equally many maps.",
        )
    for row in rows:
        for heat in row.heats:
            check_same_pixels(as_rgb(row.image), heat, row.seen)


def drawn_row(row: Row, shared: Scale | None, percentile: float | None) -> list[Image.Image]:
    """The bare picture and its overlays, each with its own colour bar unless the scale is shared."""
    picture = as_rgb(row.image)
    size = fitted(picture.shape[:2], CELL)
    small = resized_picture(picture, size)
    mask = None if row.seen is None else resized_mask(row.seen, size)
    cells = [Image.fromarray(small)]
    for heat, shown in zip(row.heats, row.shown()):
        scale = shared or scale_of(shown, percentile=percentile)
        laid = Image.fromarray(overlay(small, resized_heat(heat, size), scale, seen=mask))
        parts = [laid] if shared else [laid, bar(scale, max(size[1] - 20, 60), shown)]
        warning = words(shown)
        cells.append(under([beside(parts, 8), *([text_block(warning, CELL, size=SMALL)] if warning else [])], 4))
    return cells


def note(rows: Sequence[Row], shared_scale: bool, percentile: float | None, width: int) -> Image.Image:
    """What holds for the whole grid, in words."""
    said = [SHARED if shared_scale else OWN]
    if percentile is not None:
        said.append(f"Colours clipped at the {percentile:g}th percentile.")
    if any(row.seen is not None and not row.seen.all() for row in rows):
        said.append("Dim and grey: not seen by the model.")
    return text_block(" ".join(said), width)
