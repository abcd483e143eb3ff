"""The answer: a map, what it explains, and what a reader should know of it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from sightline import pictures as drawing
from sightline.archive import arrays_of, fields_of
from sightline.errors import InputError, MethodError
from sightline.images import Geometry, Picture
from sightline.localization import Localization, box_of, object_in
from sightline.method import AtLeast
from sightline.page import page
from sightline.params import check_number
from sightline.pictures.overlay import as_rgb, visible

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

    The hash of a spec's weights is taken when they are loaded, that of a model of the user's own when the answer is
    saved: save before training goes on. It is empty where that model is gone by then.
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
    reduce: str | None  # None where the attribution has no channels
    smooth: float
    head: str  # "softmax" or "sigmoid" where the model ends in one, which was left out
    preprocessing: str | None
    notes: tuple[str, ...]
    seconds: float
    computed: Mapping[str, str]  # the device, precision and memory layout of the passes, where the adapter tells
    versions: Mapping[str, str]
    pictures: tuple[Picture, ...] = field(repr=False)
    geometries: tuple[Geometry, ...] = field(repr=False)
    hash_weights: Callable[[], str] = field(repr=False)  # of a model of the user's own, as it is when this is called

    def on_original(self, i: int = 0) -> np.ndarray:
        """Map `i` in the pixels of its file as a person sees it: (H, W) float32, 0 where the model saw nothing."""
        self._check(i)
        return self.geometries[i].on_original(self.map[i])

    def facts(self, i: int = 0) -> Facts:
        """All about image `i` but the arrays, ready for JSON, and what it takes to make it again.

        A number that is NaN or infinite, which JSON cannot tell, is None. InputError for an image that is not there.
        """
        self._check(i)
        found = {
            "image": self.pictures[i].name.encode("utf-8", "backslashreplace").decode(),  # file names need not be UTF-8
            "model": self.model,
            "method": self.method,
            "target": self.target[i],
            "score": self.score[i],
            "top": self.top[i],
            "layer": self.layer,
            "params": self.params,
            "checks": {name: values[i] for name, values in self.checks.items()},
            "explained": self.target[i].get("explained", self._explained),
            "reduce": self.reduce,
            "smooth": self.smooth,
            "random_state": self.random_state,
            "preprocessing": self.preprocessing,
            "weights": self.hash_weights(),
            **{name: self.computed.get(name) for name in ("device", "precision", "layout")},
            "versions": dict(self.versions),
            "notes": list(self.notes),
            "seconds": round(self.seconds, 4),
        }
        return {name: plain(value) for name, value in found.items()}

    @property
    def _explained(self) -> str:
        return f"the score before the {self.head}" if self.head else "the model's own output"

    def _check(self, i: int) -> None:
        if not -len(self.map) <= i < len(self.map):
            raise InputError(
                f"image {i} was asked for; there are {len(self.map)}, counted from 0.", "Ask for one of these."
            )

    def picture(self, i: int = 0, *, colormap: str | None = None, percentile: float | None = _PERCENTILE) -> Any:
        """Picture, heat map and overlay of image `i` side by side, with a colour bar and the facts: a PIL image.

        Colours end at `percentile` of the map's values (None: at the largest), which the colour bar then says.
        """
        heat, seen = self.on_original(i), self.geometries[i].seen()
        ends = percentile if percentile and np.nanpercentile(np.abs(heat[seen]), percentile) else None
        scale = drawing.scale_of(heat[seen], colormap=colormap, percentile=ends)
        return drawing.figure(
            visible(self.pictures[i].pixels),
            heat,
            title=self._title(i),
            facts=self._lines(i),
            scale=scale,
            seen=None if seen.all() else seen,
        )

    def localize(
        self, i: int = 0, *, foreground: float = 0.95, background: float = 0.30, random_state: int = 0
    ) -> Localization:
        """Where the object of image `i` is: its mask and box in the file's own pixels, by GrabCut from the map.

        Sure to be object are the pixels above the `foreground` quantile of the map where it speaks for the target, sure
        to be background those at or below its `background` quantile (Simonyan et al. 2013, section 3.2, whose maps are
        those of "gradient"); the rest goes by colour. Needs OpenCV: pip install 'sightline[localize]'. What is found is
        one region of a colour, which need not be all of the object, nor the object alone. MethodError for a flat map.
        """
        self._check(i)
        ends = {"foreground": foreground, "background": background}
        if not 0 <= background <= foreground < 1:
            raise MethodError(f"{ends} was given; expected 0 <= background <= foreground < 1.", "Leave them out.")
        random_state = check_number("random_state", random_state, int, AtLeast(0))
        pixels = as_rgb(visible(self.pictures[i].pixels))
        heat = np.maximum(np.nan_to_num(self.on_original(i)), 0)
        mask = object_in(pixels, heat, self.geometries[i].seen(), foreground, background, random_state)
        told = self.pictures[i].name, self.target[i]["label"], self.method
        return Localization(mask, box_of(mask), *told, foreground, background, random_state, pixels)

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
        made += [f"smoothed by {self.smooth:g} pixels"] if self.smooth else []
        checks = [f"{name} {values[i]:.3g}" for name, values in self.checks.items()]
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
        drawing.save_png(self.picture(i or 0, colormap=colormap), path, self.facts(i or 0))

    def _json(self, path: Path, i: int | None) -> None:
        every = [self.facts(j) for j in (range(len(self.map)) if i is None else [i])]
        text = json.dumps(every if i is None and len(every) > 1 else every[0], indent=2)
        drawing.write_whole(path, lambda file: file.write(text.encode()))

    def _html(self, path: Path, i: int | None) -> None:
        text = page(self._title(i or 0), self._png_bytes(i or 0), self.facts(i or 0))
        drawing.write_whole(path, lambda file: file.write(text.encode()))

    def _npz(self, path: Path, i: int | None) -> None:
        arrays: dict[str, Any] = arrays_of(vars(self))
        drawing.write_whole(path, lambda file: np.savez_compressed(file, **arrays))


def _hides_little(row: drawing.Row) -> bool:
    return all(np.nanpercentile(np.abs(heat[row.seen]), _PERCENTILE) > 0 for heat in row.heats)


def plain(value: Any) -> Any:
    """`value` as JSON can tell it."""
    if isinstance(value, Mapping):
        return {name: plain(one) for name, one in value.items()}
    if isinstance(value, list):
        return [plain(one) for one in value]
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value


def load_explanation(path: str | Path) -> Explanation:
    """The explanation that `Explanation.save` wrote to an .npz; InputError for any other file."""
    return Explanation(**fields_of(path))


def _row_label(explanations: Sequence[Explanation], i: int) -> str:
    """The image, and the target where all explanations of it have the same."""
    name, labels = Path(explanations[0].pictures[i].name).name, {e.target[i]["label"] for e in explanations}
    return f"{name}: {labels.pop()}" if len(labels) == 1 else name


def _column_label(explanations: Sequence[Explanation], e: Explanation) -> str:
    """What sets this explanation apart: its method, its target (of each row, where they differ), or both."""
    labels = [target["label"] for target in e.target]
    told = [e.method] if len({one.method for one in explanations}) > 1 or len(explanations) == 1 else []
    if any(one.target != e.target for one in explanations):
        told.append(labels[0] if len(set(labels)) == 1 else " / ".join(labels))
    return ": ".join(told) or e.method


def grid(explanations: Sequence[Explanation], *, shared_scale: bool = False) -> Any:
    """Methods (or targets) × images in one picture; each explanation is of the same images. A PIL image.

    Raises InputError for an empty list, or explanations of different images.
    """
    if len({tuple((p.name, p.pixels.shape) for p in e.pictures) for e in explanations}) != 1:
        raise InputError(
            f"{len(explanations)} explanations were given for a grid; expected some, of the same images.",
            "Explain the same images by each method: explain(model, images, method=[...]).",
        )
    first = explanations[0]
    rows = [
        drawing.Row(visible(p.pixels), [e.on_original(i) for e in explanations], first.geometries[i].seen())
        for i, p in enumerate(first.pictures)
    ]
    return drawing.grid(
        rows,
        row_labels=[_row_label(explanations, i) for i in range(len(rows))],
        column_labels=[_column_label(explanations, e) for e in explanations],
        shared_scale=shared_scale,
        percentile=_PERCENTILE if all(_hides_little(row) for row in rows) else None,
    )
