"""What was found, as Explanations."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from sightline.arrays import resize
from sightline.asking import Found, Request
from sightline.explanation import Explanation
from sightline.inputs import Given
from sightline.labels import label_of
from sightline.load import Loaded
from sightline.pictures import smooth
from sightline.preprocessing import Preprocessing
from sightline.reduce import reduced
from sightline.scores import NO_HEAD, already_sure, highest, probabilities

_BLIND = 0.005  # share of an image's pixels from which a reader is told that the baseline hides them
_SURE = (
    "the model ends in probabilities (no softmax was seen), so that these were explained, not the scores before them"
)
_FEW = 8  # of several baselines, so many are told by name


def describe(
    request: Request,
    found: Found,
    loaded: Loaded,
    preprocessing: Preprocessing | None,
    given: Given,
    top: int,
    seconds: float,
) -> list[Explanation]:
    """An Explanation for each target."""
    reduce = _reduction(request, found)
    compared = any(facts.get("place", "") is None for facts, *_ in found.targets)  # the outputs are an embedding then
    head = NO_HEAD if compared else found.head
    highest = highest_classes(found.outputs, head, loaded, top)
    ended = end_of_the_model(found.outputs, head)
    return [
        Explanation(
            map=(maps := _maps(found.attribution[k], reduce, given.geometries[0].crop[2:], request.smooth)),
            attribution=np.ascontiguousarray(found.attribution[k], np.float32),
            score=found.score[k],
            target=targets,
            top=highest,
            checks=_checks(maps) | {name: values[k] for name, values in found.checks.items()},
            method=request.method.name,
            model=loaded.name,
            layer=found.layer,
            params={name: told(value) for name, value in request.params.items() if name != "random_state"},
            random_state=request.random_state,
            reduce=reduce,
            smooth=request.smooth,
            head="" if head == NO_HEAD else head,
            preprocessing=str(preprocessing) if preprocessing and given.preprocessed else None,
            notes=(*loaded.notes, *request.notes, *found.notes, *ended, *_blindness(request, found.checks, k)),
            seconds=seconds / len(found.targets),
            computed=getattr(loaded.model, "computed", {}),  # an adapter of the user's own may not tell
            versions=loaded.versions,
            pictures=given.pictures,
            geometries=given.geometries,
            hash_weights=loaded.hash_weights,
        )
        for k, targets in enumerate(found.targets)
    ]


def _reduction(request: Request, found: Found) -> str | None:
    """How channels become one number a pixel; None where there are none."""
    return (request.reduce or request.method.base(request.params).reduce) if found.attribution.ndim == 5 else None


def maps_of(request: Request, found: Found, size: tuple[int, int], k: int = 0) -> np.ndarray:
    """The maps (n, h, w) of target `k`, as an Explanation has them."""
    return _maps(found.attribution[k], _reduction(request, found), size, request.smooth)


def _maps(attribution: np.ndarray, reduce: str | None, size: tuple[int, int], sigma: float) -> np.ndarray:
    """Maps (n, h, w) at the size of the model's input."""
    maps = (attribution if reduce is None else reduced(attribution, reduce)).astype(np.float32)
    maps = maps if maps.shape[1:] == size else resize(maps, size)
    return np.stack([smooth(m, sigma) for m in maps]).astype(np.float32) if sigma else np.ascontiguousarray(maps)


def _checks(maps: np.ndarray) -> dict[str, np.ndarray]:
    flat = np.abs(maps.reshape(len(maps), -1))
    peak = flat.max(axis=1, keepdims=True)
    zeros, highest = (np.count_nonzero(flat == level, axis=1) / flat.shape[1] for level in (0, peak))
    return {"zeros": zeros, "saturated": np.where(peak[:, 0] > 0, highest, 0.0)}


def highest_classes(outputs: np.ndarray, head: str, loaded: Loaded, count: int) -> list[list[dict[str, Any]]]:
    """The highest classes of each image with their probabilities; none for a regression or a segmentation."""
    sure = probabilities(outputs, head, loaded.labels)
    if sure is None:
        return [[] for _ in outputs]
    best = highest(outputs, count)
    return [
        [{"index": int(c), "label": label_of(c, loaded.labels), "probability": float(p[c])} for c in classes]
        for classes, p in zip(best, sure)
    ]


def end_of_the_model(outputs: np.ndarray, head: str) -> list[str]:
    """A warning where the outputs are probabilities, so that what was explained is not the score before them."""
    return [_SURE] if already_sure(outputs, head).any() else []


def _blindness(request: Request, checks: Mapping[str, np.ndarray], k: int) -> list[str]:
    """A warning where a part of an image looks like the baseline, so that a path from there gives it next to nothing."""
    share = float(checks["blind"][k].max()) if "blind" in checks else 0.0
    if share < _BLIND:
        return []
    given = next(told(request.params[name]) for name in ("baseline", "backgrounds") if name in request.params)
    return [
        f"{share:.1%} of the pixels look like the baseline ({given}), so that {request.method.name} gives them next to "
        "nothing, whatever they mean; compare another baseline, or the mean over several, such as black+white"
    ]


def told(value: Any) -> Any:
    """An option as JSON can tell it."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, list | tuple) and len(value) <= _FEW:
        return "+".join(str(told(each)) for each in value)
    plain = isinstance(value, str | int | float | type(None))
    return value if plain else f"{type(value).__name__} {tuple(getattr(value, 'shape', ())) or ''}".strip()
