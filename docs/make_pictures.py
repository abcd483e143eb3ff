"""Draws the pictures of the documentation: python docs/make_pictures.py [METHOD...] [photographs] [attention] [worlds]

The overview from the shipped world and its net; a sheet of all worlds; a picture of each method, and three photographs
by ten methods, from the photographs and weights that the tests use (SIGHTLINE_ASSETS), by a MobileNetV2. One picture of
all methods of attention, which that net has none of, by the small transformer that the tests train.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image

import sightline as sl
from sightline.pictures import save_png
from sightline.pictures.layout import beside, framed, text_block, under
from sightline.worlds import DEMO_SEED, DEMO_SIZE, World, find_world

WORLD, MISREAD = "fish-scales/rings", 645  # a picture that the net misreads
OVERVIEW = ("smoothgrad", "integrated-gradients", "grad-cam", "occlusion")
PHOTOGRAPHS = ("hot_dog.jpg", "parrot.jpg", "dragonfly.png")
TEN = (
    *("gradient", "smoothgrad", "integrated-gradients", "guided-backprop", "lrp-epsilon-gamma-box"),
    *("grad-cam", "layer-cam", "occlusion", "lime", "xrai"),
)
SLOW: dict[str, dict[str, Any]] = {  # a pass for each channel: at a layer with 320 of them instead of 1,280
    "score-cam": {"layer": "features.17"},
    "is-cam": {"layer": "features.17", "steps": 4},
    "ss-cam": {"layer": "features.17"},
}
ATTENTION = (
    *("attention-rollout", "gradient-attention-rollout", "generic-attention", "transformer-attribution", "legrad"),
    *("attn-lrp", "grad-cam"),
)
TILE = 144  # pixels of a picture in the sheet of worlds
SHOWN = (
    ("fish-scales/rings", 100),
    ("fish-scales/size", 100),
    ("damaged-parts/honest", 204),
    ("damaged-parts/cheat", 320),
    ("mosaic/3x3", 0),
    ("control/linear", 0),
)
FOLDER = Path(__file__).with_name("images")
ASSETS = Path(os.environ.get("SIGHTLINE_ASSETS", Path(__file__).parents[2] / "shared" / "assets"))


def main(names: Sequence[str]) -> None:
    """Write every picture anew, or those of the methods that are named."""
    if not names or "attention" in names:
        draw_attention()
    if not names or "worlds" in names:
        keep_photograph(sheet_of_worlds(), "worlds", width=1000)
    if set(names) == {"worlds"}:  # which needs no photographs
        return
    model = sl.load(
        "torchvision:mobilenet_v2",
        weights=str(ASSETS / "mobilenet_v2_torchvision.safetensors"),
        preprocess="resize=224,crop=224,mean=0.5,std=0.5",
        labels="imagenet",
    )
    photographs = ASSETS / "images"
    known = [method["name"] for method in sl.methods() if "attention" not in method["needs"]]
    for name in [name for name in known if not names or name in names]:
        answer: Any = sl.explain(model, photographs / "cat.png", method=name, **SLOW.get(name, {}))
        keep_photograph(answer.picture(), name, width=840)
    if not names:
        draw_overview()
    if not names or "photographs" in names:
        ten: Any = sl.explain(model, [photographs / name for name in PHOTOGRAPHS], method=TEN)
        keep_photograph(sl.grid(ten), "photographs", width=1600)


def draw_overview() -> None:
    """What the shipped net sees in two pictures, one of which it misreads."""
    with TemporaryDirectory() as folder:
        both: Any = sl.explain(
            f"world:{WORLD}", [drawn(seed, Path(folder)) for seed in (DEMO_SEED, MISREAD)], method=OVERVIEW
        )
        keep(sl.grid(both), "overview", width=1100)


def draw_attention() -> None:
    """A picture of each colour by a transformer that has learnt them, and what its attention shows."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from token_nets import drawn, trained

    pictures, colours, _ = drawn(24, 7)
    some = [int((colours == colour).nonzero()[0, 0]) for colour in range(3)]
    pixels = (255 * (0.35 + 0.15 * pictures[some]).clamp(0, 1)).byte().permute(0, 2, 3, 1).numpy()
    given: Any = {"preprocess": "mean=0.35,std=0.15", "labels": ["red", "green", "blue"]}
    keep(sl.grid(sl.explain(trained(), list(pixels), method=ATTENTION, **given)), "attention", width=1150)


def sheet_of_worlds() -> Image.Image:
    """Each world's pictures, one with its masks, and one with each of its changes."""
    rows = [
        *(part for name, seed in SHOWN for part in (said(f"world {name}"), row_of(find_world(name), seed))),
        said("one part, its masks (red: what matters, blue: what distracts), and each change of it"),
        changes("damaged-parts/honest", 207),
        said("one scale, its masks, and each change of it"),
        changes("fish-scales/rings", 101),
    ]
    return framed(under(rows, 6), 12)


def said(text: str) -> Image.Image:
    """A line above a row."""
    return text_block(text, 8 * TILE, bold=True)


def row_of(world: World, seed: int) -> Image.Image:
    """Eight pictures in a row."""
    return beside([Image.fromarray(world.draw(seed + n, size=TILE).image) for n in range(8)], 4)


def changes(name: str, seed: int) -> Image.Image:
    """A picture, its masks, and the picture after each intervention, with its name below."""
    world = find_world(name)
    drawing = world.draw(seed, size=TILE)
    masked = drawing.image.copy()
    masked[drawing.mask], masked[drawing.distractors] = (255, 40, 40), (40, 90, 255)
    cells = {"as drawn": drawing.image, "masks": masked}
    cells |= {what: world.intervene(drawing.parameters, what, size=TILE).image for what in world.interventions}
    return beside([under([Image.fromarray(image), text_block(what, TILE)], 2) for what, image in cells.items()], 4)


def drawn(seed: int, folder: Path) -> str:
    """A file with the picture of a seed, named after its true age."""
    drawing = find_world(WORLD).draw(seed, size=DEMO_SIZE)
    path = folder / f"{drawing.age} years old"
    Image.fromarray(drawing.image).save(path, "PNG")
    return str(path)


def keep(picture: Image.Image, name: str, width: int) -> None:
    """Save a drawn picture, smaller and with fewer colours, so that the repository stays small."""
    small = narrowed(picture, width).quantize(256, kmeans=8, dither=Image.Dither.NONE)
    save_png(small, FOLDER / f"{name}.png", {})


def keep_photograph(picture: Image.Image, name: str, width: int) -> None:
    """Save a picture of a photograph as JPEG, which is smaller."""
    narrowed(picture, width).save(FOLDER / f"{name}.jpg", quality=82, optimize=True)


def narrowed(picture: Image.Image, width: int) -> Image.Image:
    """A picture of that width."""
    return picture.resize((width, round(picture.height * width / picture.width)), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    main(sys.argv[1:])
