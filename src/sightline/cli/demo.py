"""`sightline demo`: the shipped model on a picture whose answer is known."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

import sightline as sl
from sightline.cli.tables import print_line, print_table
from sightline.explanation import Explanation
from sightline.pictures import save_png

if TYPE_CHECKING:
    from sightline.worlds.fish_scales import ScaleDrawing

WORLD = "fish-scales/rings"
METHODS = ("gradient", "smoothgrad", "integrated-gradients", "grad-cam", "guided-backprop", "occlusion")


def show_demo(out: Path) -> None:
    """Draw the picture, explain it by a handful of methods, and say how far each map keeps to the rings.

    Raises ModelError where PyTorch is missing, InputError where `out` cannot be written.
    """
    from sightline.worlds import DEMO_SEED, DEMO_SIZE, fish_scales

    model = sl.load(f"world:{WORLD}")
    drawing = fish_scales.draw(DEMO_SEED, size=DEMO_SIZE)
    picture = out / "fish-scale.png"
    save_png(Image.fromarray(drawing.image), picture, {})
    found = sl.explain(model, str(picture), method=METHODS, target="top")
    assert isinstance(found, list)
    files = [e.save(out / f"fish-scale-{e.method}.png") for e in found]
    together = out / "fish-scale-all.png"
    save_png(sl.grid(found), together, {})
    _tell(drawing, found, files)
    print_line(f"The picture is {picture}; all maps side by side are in {together}.")


def _tell(drawing: ScaleDrawing, found: list[Explanation], files: list[Path]) -> None:
    guess = found[0].top[0][0]
    print_line(f"The fish is {drawing.age} years old: its scale has {drawing.age} rings.")
    print_line(f"The model says {guess['label']}, with probability {guess['probability']:.2f}.")
    print_line(f"The rings cover {drawing.mask.mean():.0%} of the picture; of each map, they have this share:")
    rows = [(e.method, f"{_share(e.on_original(), drawing.mask):.0%}", file) for e, file in zip(found, files)]
    print_table(("method", "on the rings", "picture"), rows)


def _share(heat: np.ndarray, mask: np.ndarray) -> float:
    """The share of the map's absolute values that lies inside the mask."""
    size = np.abs(heat)
    return float(size[mask].sum() / size.sum()) if size.any() else 0.0
