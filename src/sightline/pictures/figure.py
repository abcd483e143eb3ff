"""One explanation in one picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from sightline.pictures.bar import legend
from sightline.pictures.colour import Scale, scale_of
from sightline.pictures.layout import (
    AMBER,
    GREY,
    LARGE,
    SMALL,
    beside,
    fitted,
    framed,
    resized_heat,
    resized_mask,
    resized_picture,
    text_block,
    under,
)
from sightline.pictures.overlay import OPACITY, as_rgb, check_same_pixels, dimmed, heat_picture, overlay, visible
from sightline.pictures.words import words

PANEL, LONG_PANEL, LONG = 480, 960, 3  # longest side in pixels; the same for a picture LONG times longer than broad
BOX = (255, 60, 40)
CAPTION, LEGEND, BAR, TEXT = 150, 130, (160, 480), 640  # least width; width; least and greatest height; least width


def figure(
    image: NDArray[np.uint8],
    heat: NDArray[Any],
    *,
    title: str,
    facts: Sequence[str],
    scale: Scale | None = None,
    seen: NDArray[np.bool_] | None = None,
) -> Image.Image:
    """The picture, its map (h, w) and the overlay, with a colour bar in numbers, a title and lines of facts.

    What `words` has to say about the map stands in the figure. Pixels outside of `seen` count neither for the
    scale nor for the words. Errors as in `scale_of` and `overlay`.
    """
    picture = as_rgb(image)
    check_same_pixels(picture, heat, seen)
    shown = heat if seen is None else heat[seen]
    scale = scale or scale_of(shown)
    drawn = panels(picture, heat, scale, seen)
    height = min(max(drawn.height - 60, BAR[0]), BAR[1])
    body = beside([drawn, legend(scale, height, LEGEND, heat=shown, seen=seen)], 20)
    return framed(under([*heading(title, facts, words(shown), max(body.width, TEXT)), body], 10), 16)


def heading(title: str, facts: Sequence[str], warning: str | None, width: int) -> list[Image.Image]:
    """The title, the facts, and what a reader should be warned of."""
    lines = [text_block(fact, width, ink=GREY) for fact in facts]
    warned = [text_block(warning, width, bold=True, paper=AMBER, padding=8)] if warning else []
    return [text_block(title, width, size=LARGE, bold=True), *([under(lines, 0)] if lines else []), *warned]


def plate(image: NDArray[np.uint8], *, title: str, facts: Sequence[str], caption: str) -> Image.Image:
    """One picture on its own, with a title and lines of facts above it and a caption below."""
    picture = as_rgb(visible(image))
    small = resized_picture(picture, fitted(picture.shape[:2], PANEL))
    below = text_block(caption, max(small.shape[1], TEXT), size=SMALL, ink=GREY)
    return framed(
        under([*heading(title, facts, None, max(small.shape[1], TEXT)), Image.fromarray(small), below], 10), 16
    )


def boxed(
    image: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    box: tuple[int, int, int, int] | None,
    *,
    title: str,
    facts: Sequence[str],
) -> Image.Image:
    """The picture, dim outside of the mask, with a box (left, top, right, bottom) in its own pixels drawn on it."""
    picture = as_rgb(image)
    check_same_pixels(picture, mask, None)
    size = fitted(picture.shape[:2], PANEL)
    small = resized_picture(picture, size)
    drawn = Image.fromarray(np.where(resized_mask(mask, size)[..., None], small, dimmed(small)))
    if box is not None:
        across, down = size[0] / picture.shape[1], size[1] / picture.shape[0]
        corners = [round(side * (across, down)[i % 2]) - i // 2 for i, side in enumerate(box)]
        ImageDraw.Draw(drawn).rectangle(corners, outline=BOX, width=3)
    return framed(under([*heading(title, facts, None, max(size[0], TEXT)), drawn], 10), 16)


def panels(picture: NDArray[np.uint8], heat: NDArray[Any], scale: Scale, seen: NDArray[np.bool_] | None) -> Image.Image:
    """Picture, map and overlay with their captions: side by side, or one below the other for a very broad picture."""
    h, w = picture.shape[:2]
    size = fitted((h, w), LONG_PANEL if max(h, w) >= LONG * min(h, w) else PANEL)
    small, values = resized_picture(picture, size), resized_heat(heat, size)
    mask = None if seen is None else resized_mask(seen, size)
    captioned = [
        captioned_panel(small, f"picture, {w} × {h} pixels, shown at {size[0] / w:.0%}"),
        captioned_panel(heat_picture(values, scale, mask), "map"),
        captioned_panel(overlay(small, values, scale, seen=mask), f"overlay, at most {OPACITY:.0%} colour"),
    ]
    return under(captioned, 10) if w >= LONG * h else beside(captioned, 12)


def captioned_panel(panel: NDArray[np.uint8], caption: str) -> Image.Image:
    """A panel with its caption below."""
    return under([Image.fromarray(panel), text_block(caption, max(panel.shape[1], CAPTION), size=SMALL, ink=GREY)], 4)
