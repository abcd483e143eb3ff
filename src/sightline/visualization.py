"""The answer of `visualize`: a picture that a model scores highly, and what a reader should know of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from sightline import pictures as drawing
from sightline.errors import InputError
from sightline.explanation import plain

Facts = dict[str, Any]
CAUTION = "One of many pictures with a high score: it shows what raises the score, not what the model needs to see."


@dataclass(frozen=True, eq=False)
class Visualization:
    """A picture that raises a target's score.

    `pixels` (h, w, c) uint8 the picture as a person sees it; `x` (h, w, c) float32 the model's input of it, channels
    last; `scores` (steps + 1,) the target's score of each picture on the way, the last that of `x` itself, without the
    penalties; `target` {"index", "label"}; `top` the highest classes of `x` with their probabilities. The hash of a
    spec's weights is taken when they are loaded, that of a model of the user's own when the answer is saved.
    """

    pixels: np.ndarray
    x: np.ndarray
    scores: np.ndarray
    target: Facts
    top: list[Facts]
    model: str
    layer: str | None
    params: Facts
    random_state: int
    head: str  # "softmax" or "sigmoid" where the model ends in one, which was left out
    preprocessing: str
    notes: tuple[str, ...]
    seconds: float
    versions: Mapping[str, str]
    hash_weights: Callable[[], str] = field(repr=False)

    @property
    def score(self) -> float:
        """The target's score of the picture."""
        return float(self.scores[-1])

    def facts(self) -> Facts:
        """All but the arrays, ready for JSON, and what it takes to make it again."""
        found = {
            "model": self.model,
            "target": self.target,
            "layer": self.layer,
            "score": self.scores[-1],
            "start": self.scores[0],
            "top": self.top,
            "params": self.params,
            "random_state": self.random_state,
            "explained": self._explained(),
            "preprocessing": self.preprocessing,
            "weights": self.hash_weights(),
            "versions": dict(self.versions),
            "notes": list(self.notes),
            "seconds": round(self.seconds, 4),
        }
        return {name: plain(value) for name, value in found.items()}

    def picture(self) -> Any:
        """The picture with the facts above it and what it cannot tell below: a PIL image."""
        made = ", ".join(f"{name}={value}" for name, value in self.params.items())
        guesses = ", ".join(f"{t['label']} {t['probability']:.2f}" for t in self.top[:3])
        answers = [f"the model's answers to it: {guesses}"] if guesses else []
        title = f"{self.target['label']}: score {self.scores[0]:.3g} at the start, {self.score:.3g} at the end"
        facts = [f"model {self.model}, random_state={self.random_state}", made, *answers, *self.notes]
        return drawing.plate(self.pixels, title=title, facts=facts, caption=CAUTION)

    def save(self, path: str | Path) -> Path:
        """Write .png (the picture, facts in its metadata), .npz (`x`, `pixels`, `scores`, and `facts` as JSON) or .json.

        Whole or not at all; returns the path. Raises InputError for another ending.
        """
        path = Path(path)
        writers: dict[str, Callable[[Path], None]] = {".png": self._png, ".npz": self._npz, ".json": self._json}
        if path.suffix.lower() not in writers:
            raise InputError(f"{path} was given; its ending is not known.", f"End it in {', '.join(writers)}.")
        writers[path.suffix.lower()](path)
        return path

    def _repr_png_(self) -> bytes:
        buffer = BytesIO()
        self.picture().save(buffer, "PNG")
        return buffer.getvalue()

    def _explained(self) -> str:
        if self.layer is not None:
            return "a value inside the model"
        return f"the score before the {self.head}" if self.head else "the model's own output"

    def _png(self, path: Path) -> None:
        drawing.save_png(self.picture(), path, self.facts())

    def _npz(self, path: Path) -> None:
        arrays: dict[str, Any] = {
            "x": self.x,
            "pixels": self.pixels,
            "scores": self.scores,
            "facts": np.array(json.dumps(self.facts())),
        }
        drawing.write_whole(path, lambda file: np.savez_compressed(file, **arrays))

    def _json(self, path: Path) -> None:
        drawing.write_whole(path, lambda file: file.write(json.dumps(self.facts(), indent=2).encode()))
