"""compare(): maps of several methods side by side, with their measures and costs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from sightline import pictures
from sightline.board import Board, board
from sightline.explanation import Explanation, grid
from sightline.load import LOADING, load
from sightline.measure import measure, read_spec
from sightline.measurement import Measurement
from sightline.pictures.layout import under

METHODS = ("gradient", "smoothgrad:form=squared", "integrated-gradients:baseline=mean", "grad-cam", "random", "edges")
METRICS = ("deletion", "insertion", "sparseness")


@dataclass(frozen=True, eq=False)
class Comparison:
    """Methods side by side: the `board` of their measures and costs, and their `explanations`, one a method."""

    board: Board
    explanations: tuple[Explanation, ...]

    def picture(self) -> Image.Image:
        """The maps in a grid, images × methods, and the board under it."""
        return under([grid(self.explanations), self.board.picture()], 24)

    def facts(self) -> dict[str, Any]:
        """The board, and for each method what each image's explanation says, ready for JSON."""
        each = [[e.facts(i) for i in range(len(e.map))] for e in self.explanations]
        return self.board.told() | {"explanations": dict(zip(self.board.rows, each))}

    def save(self, path: str | Path) -> Path:
        """Write .png, .json, .md or .csv, whole or not at all; InputError for another ending."""
        path = Path(path)
        if path.suffix.lower() == ".png":
            pictures.save_png(self.picture(), path, {"title": self.board.title})
        elif path.suffix.lower() == ".json":
            text = json.dumps(self.facts(), indent=2)
            pictures.write_whole(path, lambda file: file.write(text.encode()))
        else:
            self.board.save(path)
        return path


def compare(
    model: Any,
    images: Any,
    *,
    method: Sequence[str] = METHODS,
    metric: Any = METRICS,
    masks: Any = None,
    target: Any = "top",
    random_state: int = 0,
    **options: Any,
) -> Comparison:
    """Maps of `images` by several methods, with what each metric says of them, and what they cost.

    `method`: names of `sightline.methods()`, each with options of its own if need be ("integrated-gradients:
    baseline=mean,steps=100"); random and edges show what a map is worth that has not seen the model. `metric` and `masks`
    are as in `sightline.measure`; the other options are those of `load` and `explain`. Raises a SightlineError.
    """
    loaded = load(model, **{name: options.pop(name) for name in LOADING if name in options})
    asked = {"metric": metric, "masks": masks, "target": target, "random_state": random_state, **options}
    found = {
        spec: measured_by(spec, loaded, images, asked) for spec in ([method] if isinstance(method, str) else method)
    }
    facts = {"model": loaded.name, "random_state": random_state}
    count = len(next(iter(found.values()))[0].values)
    title = f"{loaded.name}: {len(found)} methods, {count} image{'s' * (count > 1)}"
    made = board(title, {spec: [each] for spec, each in found.items()}, facts, random_state)
    return Comparison(made, tuple(each[0].explanation for each in found.values()))


def measured_by(spec: str, loaded: Any, images: Any, asked: dict[str, Any]) -> list[Measurement]:
    """The measures of one method's maps, "name" or "name:key=value"."""
    name, options = read_spec(spec)
    return measure(loaded, images, method=name, **{**asked, **options})
