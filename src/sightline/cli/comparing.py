"""`sightline compare` and `sightline benchmark`: methods side by side, as a picture and a table."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import sightline as sl
from sightline.cli.bars import bars
from sightline.cli.explaining import load, make_folder
from sightline.cli.files import pictures_in
from sightline.cli.tables import print_json, print_line, print_table


def compare_files(
    given: Sequence[str],
    model: str | None,
    loading: Mapping[str, Any],
    asked: Mapping[str, Any],
    out: Path,
    as_json: bool,
) -> int:
    """Compare methods on every picture given; the exit status."""
    images = pictures_in(given)
    masks = asked.get("masks")
    loaded = load(model, loading)
    make_folder(out)
    with bars(1) as shown, redirect_stdout(sys.stderr):
        shown.image(Path(images[0]).name, 0)
        found = sl.compare(loaded, images, **{**asked, "masks": masks and pictures_in([masks])})
    tell_board(found, found.board, out / "compare", ("png", "md", "csv", "json"), as_json=as_json)
    return 0


def benchmark_world(world: str, asked: Mapping[str, Any], out: Path, as_json: bool) -> int:
    """Measure methods on a world; the exit status."""
    make_folder(out)
    with bars(1) as shown, redirect_stdout(sys.stderr):
        shown.image(world, 0)
        found = sl.benchmark(world, **asked)
    tell_board(
        found, found, out / f"benchmark-{world.replace('/', '-')}", ("png", "md", "csv", "json"), as_json=as_json
    )
    return 0


def tell_board(found: Any, board: sl.Board, stem: Path, endings: Sequence[str], *, as_json: bool) -> None:
    """Write what was found under each ending, and print the board."""
    files = {ending: str(found.save(stem.with_suffix(f".{ending}"))) for ending in endings}
    if as_json:
        print_json(board.told() | {"files": files})
        return
    head, *rows = board.lines()
    print_line(board.title)
    print_table(head, rows)
    print_line("Mean ± half of the 95 % interval; a star: no other row is surely better.")
    print_line(f"files: {', '.join(files.values())}")
