"""Several pictures in one, in rows and columns, of which one shows the class that is explained.

What a map of that class puts into the other cells is wrong (GridPG: Böhle et al. 2021, section 4; Rao et al. 2022,
section 3.1). `mosaic` takes any pictures, `mosaic_world` those of another world, `folder_mosaic` those of a folder. The
nets whose cells cannot see each other (DiFull, DiPart) are in `sightline.worlds.cells`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from math import isqrt
from pathlib import Path

import numpy as np
from PIL import Image

from sightline.errors import InputError
from sightline.images import read
from sightline.worlds.drawing import Drawing, World, generator
from sightline.worlds.painting import Array

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif")


@dataclass(frozen=True)
class Mosaic:
    """Where the pictures of a mosaic come from, row by row: seeds or files; their classes; the cell that is explained."""

    sources: tuple[int | str, ...]
    classes: tuple[int, ...]
    explained: int


def mosaic(
    cells: Sequence[Array], classes: Sequence[int], explained: int, sources: Sequence[int | str] = ()
) -> Drawing:
    """Square pictures (h, h, 3) uint8 of one size, 4 or 9 or more, put together row by row.

    The label is the class of the cell `explained`, which is the mask; all others distract. Raises InputError where the
    cells make no square, differ in size, or another one has the class that is explained.
    """
    grid = _grid_of(cells)
    if [index for index, one in enumerate(classes) if one == classes[explained]] != [explained]:
        raise InputError(
            f"The classes {list(classes)} were given with cell {explained} explained; expected its class in it alone.",
            "Choose pictures of other classes for the other cells.",
        )
    each = np.arange(grid * grid).reshape(grid, grid)
    mask = np.kron(each == explained, np.ones(cells[0].shape[:2], bool))
    rows = [np.concatenate(list(cells[start : start + grid]), axis=1) for start in range(0, grid * grid, grid)]
    return Drawing(
        *(np.concatenate(rows), mask, ~mask, np.zeros_like(mask), classes[explained]),
        parameters=Mosaic(tuple(sources), tuple(classes), explained),
        facts={"cell": explained, "classes": " ".join(map(str, classes))},
    )


def _grid_of(cells: Sequence[Array]) -> int:
    grid = isqrt(len(cells))
    shapes = sorted({cell.shape for cell in cells})
    if grid < 2 or grid * grid != len(cells) or len(shapes) > 1 or shapes[0][0] != shapes[0][1]:
        raise InputError(
            f"{len(cells)} cells of {shapes} were given; expected 4, 9, ... square pictures of one size.",
            "Crop and resize them first.",
        )
    return grid


def mosaic_world(world: World, grid: int) -> World:
    """The world of `grid` by `grid` pictures of another, for that one's net, `grid` times as wide."""
    source = partial(_of_world, world)
    return replace(
        world,
        draw=partial(draw, world, grid),
        render=lambda parameters, size: _painted(parameters, source, size),
        size=grid * world.size,
        preprocess=f"resize={grid * world.size},crop={grid * world.size},mean=0.5,std=0.5",
        interventions={},
        recipe=None,
    )


def draw(world: World, grid: int, seed: int, *, size: int | None = None) -> Drawing:
    """The mosaic of a seed: one picture of the explained class, the others of as many other classes as there are.

    Raises InputError for a negative seed, or a size that is no multiple of `grid` from 32 to 1024 a cell.
    """
    rng = generator(seed)
    first = int(rng.integers(2**31))
    candidates = ((source, int(world.draw(source, size=32).label)) for source in count(first))
    return _painted(
        _any(rng, grid, candidates, len(world.labels)), partial(_of_world, world), size or grid * world.size
    )


def _any(rng: np.random.Generator, grid: int, candidates: Iterable[tuple[int | str, int]], classes: int) -> Mosaic:
    """The first of the candidates is explained; of the others no class is taken again before all were."""
    cells: list[tuple[int | str, int]] = []
    for source, kind in candidates:
        others = [seen for _, seen in cells[1:]]
        fresh = not cells or (kind != cells[0][1] and others.count(kind) <= len(others) // max(classes - 1, 1))
        cells += [(source, kind)] * fresh
        if len(cells) == grid * grid:
            order = rng.permutation(len(cells))
            sources, kinds = zip(*(cells[place] for place in order))
            return Mosaic(sources, kinds, int(np.flatnonzero(order == 0)[0]))
    raise InputError(
        f"There are {len(cells)} pictures of different classes for {grid * grid} cells.", "Give more, of more classes."
    )


def _painted(parameters: Mosaic, source: Callable[[int | str, int], Array], size: int) -> Drawing:
    grid = isqrt(len(parameters.sources))
    if size % grid:
        raise InputError(
            f"The size is {size} pixels; expected a multiple of {grid}.", f"Give size={size - size % grid}."
        )
    cells = [source(one, size // grid) for one in parameters.sources]
    return mosaic(cells, parameters.classes, parameters.explained, parameters.sources)


def _of_world(world: World, seed: int | str, size: int) -> Array:
    return world.draw(int(seed), size=size).image


def classes_of_folder(folder: str | Path) -> dict[str, list[Path]]:
    """The classes of a folder, one for each folder in it, and their pictures; InputError where there are not two."""
    folder = Path(folder)
    try:
        inside = sorted(path for path in folder.iterdir() if path.is_dir())
        found = {path.name: sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES) for path in inside}
    except OSError as error:
        raise InputError(f"{folder} was given; {error.strerror}.", "Give a folder with one folder a class.") from None
    found = {name: files for name, files in found.items() if files}
    if len(found) < 2:
        raise InputError(
            f"{folder} was given; {len(found)} of its folders have pictures; expected two or more, one for each class.",
            "Put the pictures of each class into a folder of its own.",
        )
    return found


def folder_mosaic(folder: str | Path, seed: int, *, grid: int = 2, size: int = 448) -> Drawing:
    """The mosaic of a seed from the pictures of a folder that has a folder for each class, cropped to squares.

    Classes are numbered in the order of their names. Raises InputError for a folder without two classes, too few
    pictures, or one that cannot be read.
    """
    rng, classes = generator(seed), classes_of_folder(folder)
    every = [(str(file), index) for index, files in enumerate(classes.values()) for file in files]
    candidates = [every[place] for place in rng.permutation(len(every))]
    return _painted(_any(rng, grid, candidates, len(classes)), _of_file, size)


def _of_file(file: int | str, size: int) -> Array:
    pixels = read(str(file)).pixels
    side = min(pixels.shape[:2])
    top, left = (pixels.shape[0] - side) // 2, (pixels.shape[1] - side) // 2
    cropped = Image.fromarray(pixels[top : top + side, left : left + side]).convert("RGB")
    return np.asarray(cropped.resize((size, size), Image.Resampling.BILINEAR))
