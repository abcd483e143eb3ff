"""`sightline visualize`: a picture for each target."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sightline as sl
from sightline.cli.bars import bars
from sightline.cli.explaining import load, make_folder
from sightline.cli.files import free_stem
from sightline.cli.stop import whole_step
from sightline.cli.tables import print_json, print_line, print_table


@dataclass(frozen=True)
class Wished:
    """What is asked of each target, and how its picture is told."""

    options: Mapping[str, Any]  # for `sl.visualize`
    out: Path
    as_json: bool


def visualize_targets(model: str, targets: Sequence[str], loading: Mapping[str, Any], wish: Wished) -> int:
    """A picture for each target; the exit status. Raises SightlineError for what is wrong with the request."""
    done, taken = 0, set[str]()
    try:
        loaded = load(model, loading)
        make_folder(wish.out)
        with bars(len(targets)) as shown:
            for target in targets:
                shown.image(target, done)
                with redirect_stdout(sys.stderr):
                    found = sl.visualize(loaded, target, **wish.options)
                assert isinstance(found, sl.Visualization)
                with shown.paused(), whole_step():
                    _tell(found, _saved(found, wish.out, taken), as_json=wish.as_json)
                    done += 1
    except KeyboardInterrupt:
        print(f"Stopped: {done} of {len(targets)} pictures are done; files in {wish.out}.", file=sys.stderr)
        return 130
    return 0


def _saved(found: sl.Visualization, out: Path, taken: set[str]) -> dict[str, str]:
    stem = free_stem([found.model.rpartition(":")[2], found.target["label"]], taken)
    return {
        "picture": str(found.save(out / f"{stem}.png")),
        "arrays": str(found.save(out / f"{stem}.npz")),
    }


def _tell(found: sl.Visualization, files: Mapping[str, str], *, as_json: bool) -> None:
    if as_json:
        print_json(found.facts() | {"files": dict(files)})
        return
    guesses = ", ".join(f"{guess['label']} {guess['probability']:.2f}" for guess in found.top)
    print_line(f"{found.model}, {found.target['label']}: {guesses}".rstrip(": "))
    row = [found.target["label"], f"{found.scores[0]:.4g}", f"{found.score:.4g}", found.layer, files["picture"]]
    print_table(("target", "start", "score", "layer", "picture"), [row])
    for odd in found.notes:
        print_line(f"  {odd}")
