"""`sightline world`: a folder of pictures with a known answer."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sightline.cli.bars import bars
from sightline.cli.tables import print_line
from sightline.errors import InputError

if TYPE_CHECKING:
    from sightline.worlds.drawing import Drawing


def write_world(name: str, out: Path, count: int, seed: int, size: int | None, source: Path | None) -> int:
    """Draw `count` pictures from `seed` on, and say where they are; the exit status.

    With `source`, a folder of pictures with a folder for each class, the cells of a mosaic come from there. Raises
    InputError or ModelError for what is wrong with the request; then nothing is written.
    """
    from sightline.worlds import find_world
    from sightline.worlds.folder import write_folder

    world = find_world(name)
    draw: Callable[[int], Drawing] = partial(world.draw, size=size or world.size)
    name_of: Callable[[Drawing], str] = world.name_of
    if source is not None:
        draw, name_of = _from_folder(source, _grid(name), size)
    try:
        written = write_folder(out, _told(draw, range(seed, seed + count)), name_of)
    except KeyboardInterrupt:
        print(f"Stopped: nothing was written to {out}.", file=sys.stderr)
        return 130
    print_line(f"{written} pictures of {name} are in {out}: images, masks, distractors and labels.csv.")
    return 0


def _told(draw: Callable[[int], Drawing], seeds: range) -> Iterator[tuple[int, Drawing]]:
    with bars(len(seeds)) as shown:
        for done, seed in enumerate(seeds):
            shown.image(f"seed {seed}", done)
            yield seed, draw(seed)


def _from_folder(
    source: Path, grid: int, size: int | None
) -> tuple[Callable[[int], Drawing], Callable[[Drawing], str]]:
    """What draws a mosaic of a folder's pictures, and what names its class."""
    from sightline.worlds.mosaic import classes_of_folder, folder_mosaic

    classes = list(classes_of_folder(source))
    draw = partial(folder_mosaic, source, grid=grid, size=size or grid * 224)
    return draw, lambda drawing: classes[int(drawing.label)]


def _grid(name: str) -> int:
    """How many cells a mosaic is wide; InputError for another world."""
    kind, _, variant = name.partition("/")
    if kind != "mosaic":
        raise InputError(f"--from was given with {name}; only a mosaic is made of other pictures.", "Name mosaic/2x2.")
    return int(variant[:1] or 2)
