"""The pictures of a data set, with what is known of each: its true class, its mask, its group."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sightline.errors import InputError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif")


@dataclass(frozen=True)
class Sample:
    """One picture."""

    path: Path
    truth: str | None  # the name, or the number, of its class
    mask: Path | None
    group: str | None

    @property
    def name(self) -> str:
        """The file's name."""
        return self.path.name


def samples_in(
    folder: str | Path,
    *,
    masks: str | Path | None = None,
    labels_csv: str | Path | None = None,
    groups: str | Path | None = None,
) -> list[Sample]:
    """The pictures of `folder`, in the order of their names.

    True classes are those of `labels_csv`, or the names of the folders that the pictures lie in, where there are such
    folders. `masks` is a folder with a picture of the same name for each, whatever its ending. A table has a first line
    with names of columns, the first being the file's name, and the second its class or group (or a column called
    "label" or "group"). Raises InputError where a file or a line is missing.
    """
    root = Path(folder)
    paths = _pictures(root)
    truths = _table(labels_csv, "label") if labels_csv else {}
    grouped = _table(groups, "group") if groups else {}
    masked = {p.stem: p for p in _pictures(Path(masks))} if masks else {}
    found = []
    for path in paths:
        own_folder = path.parent.name if path.parent != root else None
        truth = _entry(truths, path, root, labels_csv) if truths else own_folder
        group = _entry(grouped, path, root, groups) if grouped else None
        found.append(Sample(path, truth, _mask(masked, path, masks) if masks else None, group))
    return found


def _pictures(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise InputError(f"{folder} was given; it is no folder.", "Give a folder of pictures.")
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
    if not found:
        raise InputError(
            f"{folder} was given; there is no picture in this folder.", f"It looks for *{', *'.join(SUFFIXES)}."
        )
    return found


def _table(path: str | Path, column: str) -> dict[str, str]:
    """File name -> what stands in `column`, or else in the second column."""
    try:
        with Path(path).open(newline="", encoding="utf-8-sig") as file:
            header, *rows = [row for row in csv.reader(file) if row]
    except (OSError, ValueError, csv.Error) as problem:
        raise InputError(f"{path} was given; it cannot be read as a table: {problem}.", "Give a .csv file.") from None
    at = header.index(column) if column in header else 1
    short = [row for row in rows if len(row) <= at]
    if len(header) <= at or short:
        raise InputError(
            f"{path} was given; {len(short) or 'all'} of its lines have no column {at + 1}.",
            f"Write two columns, file and {column}, with their names in the first line.",
        )
    return {row[0].strip(): row[at].strip() for row in rows}


def _entry(table: Mapping[str, str], path: Path, root: Path, source: str | Path | None) -> str:
    """What a table says of a picture, named by its path in the folder, its file's name, or that without its ending."""
    for name in (path.relative_to(root).as_posix(), path.name, path.stem):
        if name in table:
            return table[name]
    raise InputError(f"{path.name} is in the folder; {source} has no line for it.", "Add a line with its name.")


def _mask(masks: Mapping[str, Path], path: Path, folder: str | Path) -> Path:
    if path.stem not in masks:
        raise InputError(
            f"{path.name} is in the folder; {folder} has no mask {path.stem}.png.",
            "Give a mask of the same name for each picture; an empty one where nothing matters.",
        )
    return masks[path.stem]


def known_labels(samples: Sequence[Sample]) -> list[str]:
    """The true classes, each once, in order; empty where they are not known."""
    return sorted({sample.truth for sample in samples if sample.truth is not None})
