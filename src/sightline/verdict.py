"""verdict(): whether to believe a map, by signs that are measured; it abstains where they disagree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from sightline.alike import alike
from sightline.check import check
from sightline.errors import MethodError
from sightline.explain import explain
from sightline.explanation import Explanation
from sightline.load import LOADING, Loaded, load
from sightline.measure import measure
from sightline.measurement import Measurement
from sightline.method import find
from sightline.sanity import ALIKE

BELIEVE, DOUBT, ABSTAIN = "believe", "doubt", "abstain"
_BASELINES = ("black", "white", "mean", "blurred")
_SILLY = ("random", "edges")
_STAGES = 2  # half of the layers random, then all


@dataclass(frozen=True, eq=False)
class Sign:
    """One thing that speaks for or against maps: `values` (n,) and which of them are `good` (n,), and by what rule."""

    name: str
    values: np.ndarray
    good: np.ndarray
    rule: str


@dataclass(frozen=True, eq=False)
class Verdict:
    """Whether to believe the maps of one method and target, an image each; `signs` are what it rests on."""

    explanation: Explanation = field(repr=False)
    signs: tuple[Sign, ...]

    def word(self, i: int = 0) -> str:
        """ "believe" where every sign is good, "doubt" where none is, "abstain" where they disagree."""
        good = [bool(sign.good[i]) for sign in self.signs]
        return BELIEVE if all(good) else ABSTAIN if any(good) else DOUBT

    def reasons(self, i: int = 0) -> list[str]:
        """A sentence for each sign, and whether it holds; those that fail first."""
        told = sorted(self.signs, key=lambda sign: bool(sign.good[i]))
        return [f"{'holds' if sign.good[i] else 'fails'}: {sign.rule} ({_told(sign.values[i])})" for sign in told]

    def facts(self, i: int = 0) -> dict[str, Any]:
        """All of it for image `i`, ready for JSON."""
        signs = {
            s.name: {"value": _finite(float(s.values[i])), "good": bool(s.good[i]), "rule": s.rule} for s in self.signs
        }
        return {"verdict": self.word(i), "reasons": self.reasons(i), "signs": signs}


def verdict(
    model: Any,
    images: Any,
    *,
    method: str = "grad-cam",
    target: Any = "top",
    random_state: int = 0,
    **options: Any,
) -> Verdict:
    """Whether the maps of one method can be believed, by up to four signs, all measured on these images.

    `deletion`: removing what the map calls relevant lowers the answer faster than a random map's and an edge detector's
    pixels do. `randomisation`: the map changes when half of the layers are random (see `sightline.check`). `baselines`,
    for a method that has one: its maps by black, white, mean and blurred baselines rank the pixels alike, at least 0.7
    by Spearman. `seeds`, for a method that draws: so do its maps by another random state. The options are those of
    `explain` and `load`. No sign tells whether the model itself is right, nor whether it looks at the right thing: for
    that see `sightline.audit`. Raises a SightlineError for every mistake.
    """
    loaded = load(model, **{name: options.pop(name) for name in LOADING if name in options})
    if not isinstance(method, str) or isinstance(target, list | tuple):
        raise MethodError("several methods or targets were given; a verdict is of one.", "Give one of each.")
    asked = {"target": target, "random_state": random_state, **options}
    own, *silly = (_deleted(loaded, images, name, asked) for name in (method, *_SILLY))
    explained = own.explanation
    signs = [
        _deletion(own, silly),
        _randomisation(loaded, images, method, asked),
        *_others(loaded, images, explained, asked),
    ]
    return Verdict(explained, tuple(_of_marks(sign, explained.map) for sign in signs))


def _of_marks(sign: Sign, maps: np.ndarray) -> Sign:
    """A sign that speaks for no map that is the same everywhere: it has no order of pixels to be right or wrong."""
    flat = np.ptp(maps, axis=(1, 2)) == 0
    return replace(sign, values=np.where(flat, np.nan, sign.values), good=sign.good & ~flat)


def _deleted(loaded: Loaded, images: Any, method: str, asked: Mapping[str, Any]) -> Measurement:
    """The deletion of one method's maps; the silly ones take none of the method's own options."""
    shared = (
        asked if method not in _SILLY else {k: v for k, v in asked.items() if k in ("target", "random_state", "memory")}
    )
    (found,) = measure(loaded, images, method=method, metric="deletion:steps=25,scored=logit", **shared)
    return found


def _deletion(own: Measurement, silly: list[Measurement]) -> Sign:
    """By how much the area under the curve is below the better of the silly maps', in shares of the score's fall."""
    curve = own.curves["deletion"]
    fall = np.abs(curve[:, 0] - curve[:, -1])
    ahead = (np.min([each.values for each in silly], axis=0) - own.values) / np.maximum(fall, 1e-12)
    rule = "removing what it marks lowers the score faster than removing random pixels or edges, in shares of the fall"
    return Sign("deletion", ahead, ahead > 0, rule)


def _randomisation(loaded: Loaded, images: Any, method: str, asked: Mapping[str, Any]) -> Sign:
    (found,) = check(loaded, images, method=method, stages=_STAGES, **asked)
    similar = np.nan_to_num(found.similarities["spearman-absolute"][0])
    return Sign("randomisation", similar, similar < ALIKE, "it changes when half of the layers are random: Spearman")


def _others(loaded: Loaded, images: Any, own: Explanation, asked: Mapping[str, Any]) -> Iterator[Sign]:
    """What only some methods have: baselines, draws."""
    method = find(own.method)
    if method.takes("baseline", own.params):
        names = [name for name in _BASELINES if name != own.params.get("baseline")]
        maps = [_maps(loaded, images, own.method, {**asked, "baseline": name}) for name in names]
        yield _steady("baselines", own, maps, f"it stays when the baseline is {', '.join(names)}: least Spearman")
    if method.takes("random_state", own.params):
        again = _maps(loaded, images, own.method, {**asked, "random_state": own.random_state + 1})
        yield _steady("seeds", own, [again], "it stays with other random draws: Spearman")


def _maps(loaded: Loaded, images: Any, method: str, asked: Mapping[str, Any]) -> np.ndarray:
    found = explain(loaded, images, method=method, **asked)
    assert isinstance(found, Explanation)
    return found.map


def _steady(name: str, own: Explanation, maps: list[np.ndarray], rule: str) -> Sign:
    least = np.min([np.nan_to_num(alike("spearman", own.map, each)) for each in maps], axis=0)
    return Sign(name, least, least >= ALIKE, rule)


def _told(value: float) -> str:
    return f"{value:.2f}" if np.isfinite(value) else "the map is the same everywhere"


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
