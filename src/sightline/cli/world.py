"""`sightline world`: a folder of pictures with a known answer."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sightline.cli.bars import bars
from sightline.cli.tables import print_line
from sightline.errors import InputError

if TYPE_CHECKING:
    from sightline.worlds.drawing import Drawing


def write_world(name: str, out: Path, count: int, seed: int, size: int | None, source: Path | None) -> None:
    """Draw `count` pictures from `seed` on, and say where they are.

    With `source`, a folder of pictures with a folder for each class, the cells of a mosaic come from there. Raises
    InputError or ModelError for what is wrong with the request; then nothing is written.
    """
    from sightline.worlds import find_world
    from sightline.worlds.folder import write_folder
    from sightline.worlds.mosaic import classes_of_folder, folder_mosaic

    world = find_world(name)
    draw, name_of = partial(world.draw, size=size or world.size), world.name_of
    if source is not None:
        grid, classes = _grid(name), list(classes_of_folder(source))
        draw = partial(folder_mosaic, source, grid=grid, size=size or grid * 224)
        name_of = lambda drawing: classes[int(drawing.label)]  # noqa: E731
    with bars(count) as shown:

        def drawings() -> Iterator[tuple[int, Drawing]]:
            for done, one in enumerate(range(seed, seed + count)):
                shown.image(f"seed {one}", done)
                yield one, draw(one)

        written = write_folder(out, drawings(), name_of)
    print_line(f"{written} pictures of {name} are in {out}: images, masks, distractors and labels.csv.")


def _grid(name: str) -> int:
    """How many cells a mosaic is wide; InputError for another world."""
    kind, _, variant = name.partition("/")
    if kind != "mosaic":
        raise InputError(f"--from was given with {name}; only a mosaic is made of other pictures.", "Name mosaic/2x2.")
    return int(variant[:1] or 2)
