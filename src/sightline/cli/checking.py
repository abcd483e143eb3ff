"""`sightline check`: whether maps depend on what a model has learnt."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import sightline as sl
from sightline.cli.explaining import load, make_folder
from sightline.cli.files import free_stem, pictures_in
from sightline.cli.say import error
from sightline.cli.tables import print_json, print_line, print_table
from sightline.errors import InputError
from sightline.images import read


@dataclass(frozen=True)
class Checking:
    """What is asked, and how it is told."""

    question: Mapping[str, Any]  # for `sl.check`
    out: Path
    as_json: bool


def check_files(given: Sequence[str], model: str, options: Mapping[str, Any], wish: Checking) -> int:
    """Check the methods on all pictures that can be read; the exit status. SightlineError for a wrong request."""
    images, taken = pictures_in(given), set[str]()
    try:
        loaded = load(model, options)
        make_folder(wish.out)
        readable = [image for image in images if _can_be_read(image)]
        with redirect_stdout(sys.stderr):
            found = sl.check(loaded, readable, **wish.question) if readable else []
        _tell([(each, _saved(each, wish.out, taken)) for each in found], as_json=wish.as_json)
    except KeyboardInterrupt:
        print(f"Stopped: no method is done; files in {wish.out}.", file=sys.stderr)
        return 130
    return 1 if len(readable) < len(images) else 0


def _can_be_read(image: str) -> bool:
    """Whether it is a picture; what is wrong with it is told."""
    try:
        read(image)
    except InputError as mistake:
        error(mistake.given if image in mistake.given else f"{image}: {mistake.given}", mistake.fix)
        return False
    return True


def _saved(found: sl.SanityCheck, out: Path, taken: set[str]) -> str:
    """The picture of the similarities, and all facts in its metadata."""
    stem = free_stem(["check", found.method, found.mode, _label(found)], taken)
    return str(found.save(out / f"{stem}.png"))


def _tell(found: Sequence[tuple[sl.SanityCheck, str]], *, as_json: bool) -> None:
    """A line of JSON for each method and target; or a table, and what it says in words."""
    if as_json:
        for each, picture in found:
            print_json(each.facts() | {"files": {"picture": picture}})
        return
    rows = [[each.method, _label(each), *_row(each), picture] for each, picture in found]
    if rows:
        print_table(("method", "target", "similarity", "entropy", "picture"), rows)
    for each, _ in found:
        print_line(f"  {'ALARM: ' * each.alarm}{each.sentence}")
    for note in dict.fromkeys(note for each, _ in found for note in each.notes):
        print_line(f"  {note}")


def _row(found: sl.SanityCheck) -> list[str]:
    """From the first stage to the last; the rise of the maps' entropy in the mean."""
    means = found.mean()
    rise = found.entropy[np.isfinite(found.entropy)]
    return [f"{means[0]:.2f} to {means[-1]:.2f}", f"{rise.mean():+.0%}" if rise.size else "none"]


def _label(found: sl.SanityCheck) -> str:
    """What is explained; where it differs from image to image, in words."""
    labels = {str(facts["label"]) for facts in found.target}
    return labels.pop() if len(labels) == 1 else "each its own"
