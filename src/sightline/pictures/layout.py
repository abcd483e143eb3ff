"""Text and pieces of pictures, put together without cutting anything off."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import lru_cache
from math import ceil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

INK, GREY, PAPER, AMBER = (20, 20, 20), (95, 95, 95), (255, 255, 255), (255, 224, 130)
SMALL, NORMAL, LARGE = 13, 14, 20  # text heights in pixels


@lru_cache(maxsize=8)
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which Matplotlib ships."""
    import matplotlib

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name), size)


def pieces(word: str, face: ImageFont.FreeTypeFont, width: int) -> Iterator[str]:
    """The word, broken wherever it would be wider than `width`."""
    while word:
        fits = max(1, bisect_right(range(1, len(word) + 1), width, key=lambda n: ceil(face.getlength(word[:n]))))
        yield word[:fits]
        word = word[fits:]


def wrapped(text: str, face: ImageFont.FreeTypeFont, width: int) -> list[str]:
    """The text as lines no wider than `width` pixels, broken at blanks and inside paths where it can be."""
    lines = [""]
    words = re.findall(r" |[^ /_]+[/_]*|[/_]+", " ".join(text.split()))
    for piece in (piece for word in words for piece in pieces(word, face, width)):
        if face.getlength(lines[-1] + piece.rstrip()) <= width:
            lines[-1] += piece
        else:
            lines.append(piece.lstrip())
    return lines


def text_block(
    text: str,
    width: int,
    *,
    size: int = NORMAL,
    bold: bool = False,
    ink: tuple[int, int, int] = INK,
    paper: tuple[int, int, int] = PAPER,
    padding: int = 0,
) -> Image.Image:
    """The text, wrapped to `width` pixels, as a picture just large enough for it and its padding."""
    face = font(size, bold)
    lines = wrapped(text, face, width - 2 * padding)
    step = round(size * 1.4)
    longest = int(max(face.getlength(line) for line in lines)) + 2
    block = Image.new("RGB", (longest + 2 * padding, step * len(lines) + 2 * padding), paper)
    draw = ImageDraw.Draw(block)
    for i, line in enumerate(lines):
        draw.text((padding, padding + i * step), line, ink, face)
    return block


def table(rows: Sequence[Sequence[Image.Image]], gap: int) -> Image.Image:
    """The pictures in rows and columns, each at the upper left of its cell, with `gap` pixels between cells."""
    widths = [max(cell.width for cell in column) for column in zip(*rows, strict=True)]
    heights = [max(cell.height for cell in row) for row in rows]
    size = (sum(widths) + gap * (len(widths) - 1), sum(heights) + gap * (len(heights) - 1))
    sheet = Image.new("RGB", size, PAPER)
    for i, row in enumerate(rows):
        for j, cell in enumerate(row):
            sheet.paste(cell, (sum(widths[:j]) + gap * j, sum(heights[:i]) + gap * i))
    return sheet


def beside(pictures: Sequence[Image.Image], gap: int) -> Image.Image:
    """The pictures from left to right."""
    return table([pictures], gap)


def under(pictures: Sequence[Image.Image], gap: int) -> Image.Image:
    """The pictures from top to bottom."""
    return table([[picture] for picture in pictures], gap)


def framed(picture: Image.Image, margin: int) -> Image.Image:
    """The picture with an empty margin around it."""
    sheet = Image.new("RGB", (picture.width + 2 * margin, picture.height + 2 * margin), PAPER)
    sheet.paste(picture, (margin, margin))
    return sheet


def fitted(shape: tuple[int, int], box: int) -> tuple[int, int]:
    """Width and height of a picture of `shape` (h, w) in a square box: enlarged by whole numbers, or made smaller."""
    h, w = shape
    factor = box / max(h, w)
    factor = float(int(factor)) if factor > 1 else factor
    return max(1, round(w * factor)), max(1, round(h * factor))


def resized_picture(picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """The picture at `size` (w, h): antialiased when smaller, its own pixels when larger."""
    how = Image.Resampling.LANCZOS if size[0] < picture.shape[1] else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(picture).resize(size, how))


def resized_heat(heat: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float32]:
    """The map at `size` (w, h): the mean of the values under each pixel, so that every colour stays on the scale."""
    return np.asarray(Image.fromarray(heat.astype(np.float32)).resize(size, Image.Resampling.BOX))


def resized_mask(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    """The mask at `size` (w, h), by the nearest pixel."""
    return np.asarray(Image.fromarray(mask.astype(np.uint8)).resize(size, Image.Resampling.NEAREST)) > 0
