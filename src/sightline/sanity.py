"""The answer of a sanity check: how alike the maps stay while the model's weights become random, and what that says."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sightline import pictures as drawing
from sightline.errors import InputError

Facts = dict[str, Any]
ALIKE = 0.7  # of a rank correlation: the square, half, is the share of variance that two maps' ranks have in common
ALARMING = "spearman-absolute"  # a map of the other sign still marks the same places
BLIND = "they do not show what the model has learnt"
CAUTION = (
    "An alarm, not a ranking: a map that stays does not show what was learnt in the layers made random; a map that "
    "changes may still be wrong, and changing more is not better."
)


@dataclass(frozen=True, eq=False)
class SanityCheck:
    """How the maps of one method and target change when layers of the model get random weights.

    `layers` names the lowest layer made random at each stage, or the only ones ("independent"), `counts` how many are
    random there, of `depth` in all; `similarities` name -> (stages, n), each image's map at that stage against its map of
    the model itself, which is never one of the stages, NaN where a map has become the same everywhere; `entropy` (n,)
    the relative rise of the entropy of the map's histogram from the model itself to one that is random throughout.
    """

    method: str
    mode: str
    layers: tuple[str, ...]
    counts: tuple[int, ...]
    depth: int
    similarities: Mapping[str, np.ndarray] = field(repr=False)
    entropy: np.ndarray
    model: str
    params: Facts
    layer: str | None
    target: list[Facts] = field(repr=False)
    images: tuple[str, ...] = field(repr=False)
    random_state: int
    notes: tuple[str, ...]
    seconds: float

    def mean(self, similarity: str = ALARMING) -> np.ndarray:
        """The similarity at each stage, the mean over the images; a map that has become the same everywhere counts as
        0, and one that was so from the start not at all, unless all were.
        """
        marked = ~np.isnan(self.entropy)
        counting = self.similarities[similarity][:, marked if marked.any() else ...]
        return np.asarray(np.nan_to_num(counting).mean(axis=1))

    @property
    def unmoved(self) -> int:
        """How many layers from the top can be random while the maps stay alike; 0 where each is taken alone."""
        alike = self.mean() >= ALIKE
        stages = len(alike) if alike.all() else int(alike.argmin())
        return self.counts[stages - 1] if stages and self.mode == "cascading" else 0

    @property
    def alarm(self) -> bool:
        """Whether the maps do not depend on what the model has learnt: they stay with half of the layers random."""
        if self.mode == "independent":
            return bool((self.mean() >= ALIKE).all())
        return 2 * self.unmoved >= self.depth

    @property
    def sentence(self) -> str:
        """What the numbers say, in words."""
        if np.isnan(self.entropy).all():
            return f"The maps of {self._name} are the same everywhere before any layer is random: nothing to compare."
        if self.mode == "independent":
            i = int(self.mean().argmin())
            if self.alarm:
                least = f"{self._told(i)} at the least"
                return f"The maps of {self._name} stay alike whichever layers are random ({least}): {BLIND}."
            return f"The maps of {self._name} change most with {self.layers[i]} random ({self._told(i)})."
        if not self.alarm:
            i = next(i for i, count in enumerate(self.counts) if 2 * count >= self.depth)
            return f"The maps of {self._name} change when {self._top(i)} are random ({self._told(i)})."
        i = self.counts.index(self.unmoved)
        learnt = BLIND if self.unmoved == self.depth else f"{BLIND} in these"
        return f"The maps of {self._name} stay alike when {self._top(i)} are random ({self._told(i)}): {learnt}."

    @property
    def _name(self) -> str:
        return f"{self.method} of {self.params['of']}" if "of" in self.params else self.method

    def _top(self, i: int) -> str:
        return f"the top {self.counts[i]} of {self.depth} layers"

    def _told(self, i: int) -> str:
        if np.isnan(self.similarities[ALARMING][i]).all():
            return "they are the same everywhere then"
        return f"Spearman of absolute values {self.mean()[i]:.2f}"

    def facts(self) -> Facts:
        """All of it, ready for JSON: a number that is NaN is None."""
        return {
            "model": self.model,
            "method": self.method,
            "target": self.target,
            "mode": self.mode,
            "alarm": self.alarm,
            "says": self.sentence,
            "unmoved": self.unmoved,
            "threshold": ALIKE,
            "depth": self.depth,
            "layers": list(self.layers),
            "counts": list(self.counts),
            "means": {name: self.mean(name).tolist() for name in self.similarities},
            "similarities": {name: _plain(values) for name, values in self.similarities.items()},
            "entropy": _plain(self.entropy),
            "layer": self.layer,
            "params": self.params,
            "images": list(self.images),
            "random_state": self.random_state,
            "notes": list(self.notes),
            "seconds": round(self.seconds, 4),
        }

    def save(self, path: str | Path) -> Path:
        """Write .png (the similarity by layer) or .json, whole or not at all; InputError for another ending."""
        path = Path(path)
        if path.suffix.lower() == ".json":
            text = json.dumps(self.facts(), indent=2)
            drawing.write_whole(path, lambda file: file.write(text.encode()))
        elif path.suffix.lower() == ".png":
            drawing.save_png(self.picture(), path, self.facts())
        else:
            raise InputError(f"{path} was given; its ending is not known.", "End it in .png, .json.")
        return path

    def picture(self) -> Any:
        """The similarities, a line each, from the first layers made random to the last: a PIL image."""
        return drawing.lines(
            {name: self.mean(name) for name in self.similarities},
            [f"{count}" for count in self.counts] if self.mode == "cascading" else list(self.layers),
            title=self.sentence,
            facts=[
                f"{self.method} of {self.model}, {len(self.images)} images, mode={self.mode}, "
                f"random_state={self.random_state}",
                "across: how many layers are random, from the top"
                if self.mode == "cascading"
                else "across: which layer",
            ],
            caption=CAUTION,
            level=ALIKE,
        )


def entropy_of(maps: np.ndarray, bins: int = 100) -> np.ndarray:
    """Entropy in nats of the histogram of each map's values, in that many equal bins from its least to its largest."""
    counts = np.stack([np.histogram(m, bins)[0] if np.isfinite(m).all() else np.zeros(bins) for m in maps])
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = counts / counts.sum(axis=1, keepdims=True)
        return np.asarray(-np.where(shares == 0, 0, shares * np.log(shares)).sum(axis=1) + 0.0)


def rise(own: np.ndarray, random: np.ndarray) -> np.ndarray:
    """How much entropies (n,) have risen, as a share of their own; NaN where a map has none."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(own > 0, (random - own) / own, np.nan)


def _plain(values: np.ndarray) -> list[Any]:
    return [_plain(v) if isinstance(v, np.ndarray) else float(v) if math.isfinite(v) else None for v in values]
