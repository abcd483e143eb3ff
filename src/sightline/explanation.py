"""The answer: a map, what it explains, and what a reader should know of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from sightline import pictures as drawing
from sightline.errors import InputError
from sightline.images import Geometry, Picture

Facts = dict[str, Any]
_PERCENTILE = 99.5  # where colours end, unless that would hide all of a sparse map


@dataclass(frozen=True, eq=False)
class Explanation:
    """What a model looks at in n images, by one method, for one target.

    `map` (n, h, w) float32: one number a pixel of the model's input; `attribution` (n, h', w', c) or (n, h', w') before
    reduction, channels last; `score` (n,) what was explained, before any softmax or sigmoid; `target` its class for each
    image ({"index", "label"}); `top` the highest classes of each image with their probabilities; `checks` name -> (n,)
    what a reader should know: `zeros` the share of the map that is exactly zero, `saturated` the share at its largest
    value, and what the method itself reports.
    """

    map: np.ndarray
    attribution: np.ndarray
    score: np.ndarray
    target: list[Facts]
    top: list[list[Facts]]
    checks: dict[str, np.ndarray]
    method: str
    model: str
    layer: str | None
    params: Facts
    random_state: int
    reduce: str
    smooth: float
    head: str  # "softmax" or "sigmoid" where the model ends in one, which was left out
    preprocessing: str | None
    notes: tuple[str, ...]
    seconds: float
    versions: Mapping[str, str]
    pictures: tuple[Picture, ...] = field(repr=False)
    geometries: tuple[Geometry, ...] = field(repr=False)
    hash_weights: Callable[[], str] = field(repr=False)

    def on_original(self, i: int = 0) -> np.ndarray:
        """Map `i` in the pixels of its file as a person sees it: (H, W) float32, 0 where the model saw nothing."""
        return self.geometries[i].on_original(self.map[i])

    def facts(self, i: int = 0) -> Facts:
        """All about image `i` but the arrays, ready for JSON, and what it takes to make it again."""
        return {
            "image": self.pictures[i].name,
            "model": self.model,
            "method": self.method,
            "target": self.target[i],
            "score": float(self.score[i]),
            "top": self.top[i],
            "layer": self.layer,
            "params": self.params,
            "checks": {name: _plain(values[i]) for name, values in self.checks.items()},
            "explained": f"the score before the {self.head}" if self.head else "the model's own output",
            "reduce": self.reduce,
            "smooth": self.smooth,
            "random_state": self.random_state,
            "preprocessing": self.preprocessing,
            "weights": self.hash_weights(),
            "versions": dict(self.versions),
            "notes": list(self.notes),
            "seconds": round(self.seconds, 4),
        }

    def picture(self, i: int = 0, *, colormap: str | None = None, percentile: float | None = _PERCENTILE) -> Any:
        """Picture, heat map and overlay of image `i` side by side, with a colour bar and the facts: a PIL image.

        Colours end at `percentile` of the map's values (None: at the largest), which the colour bar then says.
        """
        heat, seen = self.on_original(i), self.geometries[i].seen()
        ends = percentile if percentile and np.nanpercentile(np.abs(heat[seen]), percentile) else None
        scale = drawing.scale_of(heat[seen], colormap=colormap, percentile=ends)
        return drawing.figure(
            self.pictures[i].pixels,
            heat,
            title=self._title(i),
            facts=self._lines(i),
            scale=scale,
            seen=None if seen.all() else seen,
        )

    def save(self, path: str | Path, i: int | None = None, *, colormap: str | None = None) -> Path:
        """Write .png (the picture, facts in its metadata), .npz (everything; `load_explanation` reads it back), .json or
        .html, whole or not at all; returns the path.

        A picture or page of several images asks for `i`; `colormap` is for .png. Raises InputError for another ending.
        """
        path = Path(path)
        writers: dict[str, Callable[[Path, int | None], None]] = {
            ".png": partial(self._png, colormap=colormap),
            ".npz": self._npz,
            ".json": self._json,
            ".html": self._html,
        }
        if path.suffix.lower() not in writers:
            raise InputError(f"{path} was given; its ending is not known.", f"End it in {', '.join(writers)}.")
        if i is None and len(self.map) > 1 and path.suffix.lower() in (".png", ".html"):
            raise InputError(f"{path} was given for {len(self.map)} images.", "Say which: save(path, i).")
        writers[path.suffix.lower()](path, i)
        return path

    def show(self, i: int = 0) -> None:
        """Show the picture: in a notebook below the cell, else in the desktop's viewer."""
        try:
            from IPython.display import display
        except ImportError:
            self.picture(i).show()
        else:
            display(self.picture(i))

    def _repr_png_(self) -> bytes:
        return self._png_bytes(0)

    def _title(self, i: int) -> str:
        target, label = self.target[i], self.target[i]["label"]
        sure = [t["probability"] for t in self.top[i] if t["index"] == target["index"]]
        return f"{self.method}: {label} (score {self.score[i]:.3g}{f', p {sure[0]:.2f}' if sure else ''})"

    def _lines(self, i: int) -> list[str]:
        made = [f"model {self.model}"] + ([f"layer {self.layer}"] if self.layer else [])
        made += [f"{name}={value}" for name, value in self.params.items()]
        checks = [f"{name} {_plain(values[i]):.3g}" for name, values in self.checks.items()]
        guesses = ", ".join(f"{t['label']} {t['probability']:.2f}" for t in self.top[i][:3])
        return [
            ", ".join(made),
            *([f"answers: {guesses}"] if guesses else []),
            f"checks: {', '.join(checks)}",
            *self.notes,
        ]

    def _png_bytes(self, i: int) -> bytes:
        buffer = BytesIO()
        self.picture(i).save(buffer, "PNG")
        return buffer.getvalue()

    def _png(self, path: Path, i: int | None, colormap: str | None) -> None:
        facts = self.facts(i or 0)
        text = {key: value if isinstance(value, str) else json.dumps(value) for key, value in facts.items()}
        drawing.save_png(self.picture(i or 0, colormap=colormap), path, {"Software": "sightline", **text})

    def _json(self, path: Path, i: int | None) -> None:
        every = [self.facts(j) for j in (range(len(self.map)) if i is None else [i])]
        text = json.dumps(every if i is None and len(every) > 1 else every[0], indent=2)
        drawing.write_whole(path, lambda file: file.write(text.encode()))

    def _html(self, path: Path, i: int | None) -> None:
        from sightline.page import page

        text = page(self._title(i or 0), self._png_bytes(i or 0), self.facts(i or 0))
        drawing.write_whole(path, lambda file: file.write(text.encode()))

    def _npz(self, path: Path, i: int | None) -> None:
        from sightline.archive import arrays_of

        arrays: dict[str, Any] = arrays_of(self)
        drawing.write_whole(path, lambda file: np.savez_compressed(file, **arrays))


def _hides_little(row: drawing.Row) -> bool:
    return all(np.nanpercentile(np.abs(heat[row.seen]), _PERCENTILE) > 0 for heat in row.heats)


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def grid(explanations: Sequence[Explanation], *, shared_scale: bool = False) -> Any:
    """Methods (or targets) × images in one picture; each explanation is of the same images. A PIL image.

    Raises InputError for an empty list, or explanations of different images.
    """
    if not explanations or len({len(e.map) for e in explanations}) > 1:
        raise InputError(
            f"{len(explanations)} explanations were given for a grid; expected some, of the same images.",
            "Explain the same images by each method: explain(model, images, method=[...]).",
        )
    first = explanations[0]
    rows = [
        drawing.Row(p.pixels, [e.on_original(i) for e in explanations], first.geometries[i].seen())
        for i, p in enumerate(first.pictures)
    ]
    return drawing.grid(
        rows,
        row_labels=[f"{Path(p.name).name}: {first.target[i]['label']}" for i, p in enumerate(first.pictures)],
        column_labels=[
            e.method if len({e.method for e in explanations}) > 1 else e.target[0]["label"] for e in explanations
        ],
        shared_scale=shared_scale,
        percentile=_PERCENTILE if all(_hides_little(row) for row in rows) else None,
    )
