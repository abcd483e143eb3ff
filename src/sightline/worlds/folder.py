"""A folder of a world's pictures: images, masks of what matters and of what distracts, and a table of right answers."""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Callable, Iterable
from io import StringIO
from pathlib import Path
from uuid import uuid4

import numpy as np
from PIL import Image

from sightline.errors import InputError
from sightline.pictures import save_png, write_whole
from sightline.worlds.drawing import Drawing

FOLDERS = ("images", "masks", "distractors")


def write_folder(
    out: str | os.PathLike[str], drawings: Iterable[tuple[int, Drawing]], name_of: Callable[[Drawing], str]
) -> int:
    """Writes `images`, `masks` and `distractors` (255 where true) and `labels.csv`; gives how many pictures there are.

    `drawings` are seeds with what was drawn from them; the table has a line for each: its file, the name of its answer,
    its index (of a quantity the value), the seed, and the facts of the drawing. The folder is whole or not there.
    Raises InputError where it has files already, or cannot be written.
    """
    out = Path(out)
    part = out.with_name(f".{uuid4().hex}.part")
    _check_free(out)
    try:
        rows = [_written(part, seed, drawing, name_of(drawing)) for seed, drawing in drawings]
        write_whole(part / "labels.csv", lambda file: file.write(_table(rows).encode()))
        _move(part, out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return len(rows)


def _check_free(out: Path) -> None:
    try:
        taken = out.exists() and (not out.is_dir() or any(out.iterdir()))
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{out} was given; {error.filename}: {error.strerror}.", "Give a folder where you may write."
        ) from error
    if taken:
        raise InputError(f"{out} was given; it has files already.", "Give a new folder, or an empty one.")


def _written(part: Path, seed: int, drawing: Drawing, label: str) -> dict[str, str | int | float]:
    file = f"{seed:06d}.png"
    arrays = (drawing.image, *(255 * mask.astype(np.uint8) for mask in (drawing.mask, drawing.distractors)))
    for folder, array in zip(FOLDERS, arrays):
        save_png(Image.fromarray(array), part / folder / file, {})
    return {
        "file": file,
        "label": label,
        "index": drawing.label,
        "seed": seed,
        "size": len(drawing.image),
        **drawing.facts,
    }


def _table(rows: list[dict[str, str | int | float]]) -> str:
    text = StringIO()
    table = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue()


def _move(part: Path, out: Path) -> None:
    try:
        if out.is_dir():
            out.rmdir()
        part.replace(out)
    except OSError as error:
        raise InputError(f"{out} cannot be written ({error.strerror}).", "Give another folder.") from error
