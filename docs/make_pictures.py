"""Draws the pictures of the documentation from the shipped world and its net: python docs/make_pictures.py"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image

import sightline as sl
from sightline.pictures import save_png
from sightline.worlds import DEMO_SEED, DEMO_SIZE, find_world

WORLD, MISREAD = "fish-scales/rings", 645  # a picture that the net misreads
OVERVIEW = ("smoothgrad", "integrated-gradients", "grad-cam", "occlusion")
FOLDER = Path(__file__).with_name("images")


def main() -> None:
    """Write every picture anew."""
    model = sl.load(f"world:{WORLD}")
    with TemporaryDirectory() as folder:
        scale, misread = (drawn(seed, Path(folder)) for seed in (DEMO_SEED, MISREAD))
        both: Any = sl.explain(model, [scale, misread], method=OVERVIEW)
        keep(sl.grid(both), "overview", width=1100)
        for method in sl.methods():
            answer: Any = sl.explain(model, scale, method=method["name"])
            keep(answer.picture(), method["name"], width=840)


def drawn(seed: int, folder: Path) -> str:
    """A file with the picture of a seed, named after its true age."""
    drawing = find_world(WORLD).draw(seed, size=DEMO_SIZE)
    path = folder / f"{drawing.age} years old"
    Image.fromarray(drawing.image).save(path, "PNG")
    return str(path)


def keep(picture: Image.Image, name: str, width: int) -> None:
    """Save a picture, smaller and with fewer colours, so that the repository stays small."""
    height = round(picture.height * width / picture.width)
    small = picture.resize((width, height), Image.Resampling.LANCZOS)
    save_png(small.quantize(256, kmeans=8, dither=Image.Dither.NONE), FOLDER / f"{name}.png", {"Software": "sightline"})


if __name__ == "__main__":
    main()
