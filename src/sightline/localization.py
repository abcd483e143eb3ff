"""Where the object is: a box and a mask out of a map, by GrabCut."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sightline import pictures as drawing
from sightline.errors import InputError, MethodError
from sightline.pictures.layout import resized_heat, resized_mask, resized_picture

LONGEST = 512  # pixels of the longer side in which the segmentation is done
_COLOURS = 5  # Gaussians of each colour model, as GrabCut has them


@dataclass(frozen=True, eq=False)
class Localization:
    """An object in a picture: `mask` (H, W) bool in the file's own pixels, and the `box` around it.

    The box is (left, top, right, bottom) in pixels, right and bottom just outside; None where nothing was found.
    """

    mask: np.ndarray
    box: tuple[int, int, int, int] | None
    name: str
    label: str
    method: str
    foreground: float
    background: float
    random_state: int
    pixels: np.ndarray = field(repr=False)

    def facts(self) -> dict[str, Any]:
        """All but the arrays, ready for JSON; `share` is the mask's part of the picture."""
        return {
            "image": self.name,
            "target": self.label,
            "method": self.method,
            "box": None if self.box is None else list(self.box),
            "share": float(self.mask.mean()),
            "size": list(self.mask.shape),
            "foreground": self.foreground,
            "background": self.background,
            "random_state": self.random_state,
        }

    def picture(self) -> Any:
        """The picture with the box, dim outside of the mask, and the facts: a PIL image."""
        found = "no object was found" if self.box is None else f"box {self.box}, {self.mask.mean():.0%} of the picture"
        seeds = f"{self.foreground:.0%} quantile of the map and above, {self.background:.0%} and below"
        return drawing.boxed(
            self.pixels,
            self.mask,
            self.box,
            title=f"{self.label}: {found}",
            facts=[f"{self.name}, by {self.method}; GrabCut from the {seeds}"],
        )

    def save(self, path: str | Path) -> Path:
        """Write .png (the picture, facts in its metadata) or .json, whole or not at all; InputError for another ending."""
        path = Path(path)
        if path.suffix.lower() == ".json":
            text = json.dumps(self.facts(), indent=2)
            drawing.write_whole(path, lambda file: file.write(text.encode()))
        elif path.suffix.lower() == ".png":
            drawing.save_png(self.picture(), path, self.facts())
        else:
            raise InputError(f"{path} was given; its ending is not known.", "End it in .png, .json.")
        return path


def object_in(
    pixels: np.ndarray, heat: np.ndarray, seen: np.ndarray, foreground: float, background: float, random_state: int
) -> np.ndarray:
    """The mask (H, W) of the object that the map `heat` (H, W) points at (Simonyan et al. 2013, section 3.2).

    Two models of colour, five Gaussians each, are learnt from the pixels above the `foreground` quantile of the map
    and from those at or below its `background` quantile; a graph cut divides the rest by colour and edges (GrabCut,
    Rother et al. 2004, of OpenCV), and the largest connected part is kept.
    """
    height, width = heat.shape
    smaller = min(1.0, LONGEST / max(height, width))
    size = max(1, round(width * smaller)), max(1, round(height * smaller))
    small, values = resized_picture(pixels, size), resized_heat(heat, size)
    inside = resized_mask(seen, size)
    high, low = np.quantile(values[inside], [foreground, background])
    sure, never = inside & (values > high), inside & (values <= low)
    _check_seeds(sure, never, values[inside])
    with ThreadPoolExecutor(1) as own:  # OpenCV has a random state for each thread: the caller's is left alone
        cut = own.submit(_cut, np.ascontiguousarray(small), sure, never, inside, random_state).result()
    return resized_mask(_largest(cut), (width, height))


def box_of(mask: np.ndarray) -> tuple[int, int, int, int] | None:
    """(left, top, right, bottom) of the true pixels, right and bottom just outside."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _check_seeds(sure: np.ndarray, never: np.ndarray, values: np.ndarray) -> None:
    if min(sure.sum(), never.sum()) < _COLOURS:
        flat = "is the same everywhere" if values.min() == values.max() else "has too few pixels apart from the rest"
        raise MethodError(
            f"a map was given that {flat}: {sure.sum()} pixels say object and {never.sum()} say background.",
            "Take another method or target, a larger picture, or quantiles nearer to each other.",
        )


def _cut(pixels: np.ndarray, sure: np.ndarray, never: np.ndarray, inside: np.ndarray, random_state: int) -> np.ndarray:
    """The graph cut: the models of colour are learnt from the seeds alone, and then not changed."""
    cv2 = _opencv()
    seeds = sure | never
    labels = np.where(sure, cv2.GC_FGD, np.where(never | ~inside, cv2.GC_BGD, cv2.GC_PR_BGD)).astype(np.uint8)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(random_state % 2**31)  # it takes no more
    cv2.grabCut(pixels[seeds][None], labels[seeds][None], None, *models, 1, cv2.GC_INIT_WITH_MASK)
    cv2.grabCut(pixels, labels, None, *models, 1, cv2.GC_EVAL_FREEZE_MODEL)
    return np.asarray((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD))


def _largest(mask: np.ndarray) -> np.ndarray:
    from skimage.measure import label

    parts = label(mask, connectivity=1)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return np.asarray((parts == sizes.argmax()) & mask)


def _opencv() -> Any:
    try:
        import cv2
    except ImportError as error:
        raise MethodError(
            f"localize() was called; OpenCV, whose GrabCut it uses, cannot be imported: {error}.",
            "pip install 'sightline[localize]'",
        ) from None
    return cv2
