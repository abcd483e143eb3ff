"""Which pictures are meant, and what the files about them are called."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from sightline.errors import InputError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif")
_LONGEST = 60  # characters of each part of a name


def pictures_in(given: Iterable[str]) -> list[str]:
    """The files that are named and, of each folder, its pictures in the order of their names.

    Raises InputError for a folder that cannot be read, or without a picture.
    """
    return [name for path in given for name in (_of_folder(Path(path)) if _is_folder(path) else [path])]


def _is_folder(path: str) -> bool:
    try:
        return Path(path).is_dir()
    except OSError:  # reading it as a picture will say what is wrong
        return False


def _of_folder(folder: Path) -> list[str]:
    try:
        found = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
    except OSError as problem:
        raise InputError(f"{folder} was given; {problem.strerror}.", "Check the folder's permissions.") from None
    if not found:
        raise InputError(
            f"{folder} was given; there is no picture in this folder.", f"It looks for *{', *'.join(SUFFIXES)}."
        )
    return [str(path) for path in found]


def reserved(images: Iterable[str], out: Path) -> set[str]:
    """Names in the folder `out` that are the images' own."""
    return {_key(Path(image).stem) for image in images if Path(image).resolve().parent == out.resolve()}


def free_stem(parts: Sequence[str], taken: set[str]) -> str:
    """A file name without ending from `parts`, safe on every system and not yet `taken`; it is taken from then on."""
    stem = first = "-".join(_safe(part) for part in parts)
    number = 1
    while _key(stem) in taken:
        number += 1
        stem = f"{first}-{number}"
    taken.add(_key(stem))
    return stem


def _safe(part: str) -> str:
    return re.sub(r"[^\w.+-]+", "_", part).strip("._")[:_LONGEST] or "_"


def _key(stem: str) -> str:
    """Some file systems take capitals for small letters."""
    return stem.casefold()
