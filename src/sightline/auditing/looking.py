"""One look at each picture of a data set: what the model answers, and where its map lies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sightline.arrays import like, resize, to_numpy
from sightline.auditing.interventions import elsewhere, painted_over
from sightline.auditing.places import attention, border, corners, share_inside
from sightline.auditing.samples import Sample
from sightline.errors import InputError
from sightline.explain import explain
from sightline.explanation import Explanation
from sightline.inputs import take
from sightline.labels import index_of
from sightline.load import Loaded, preprocessing_for
from sightline.masks import masks_for
from sightline.scores import probabilities
from sightline.stream import PROGRESS

BATCH = 16  # images that are held at a time
GRID = 24  # rows and columns of the small map that is kept of each image


@dataclass(frozen=True, eq=False)
class Look:
    """What one picture showed."""

    sample: Sample
    answer: str
    probability: float  # of the answer; NaN where it is no class
    right: bool | None  # None where the true class is not known
    score: float  # of what is explained
    small: np.ndarray  # (GRID, GRID): the map's attention, in shares
    figures: Mapping[str, float]  # by name: shares of the attention, falls of the probability


@dataclass(frozen=True)
class Failure:
    """A picture that could not be looked at, and why."""

    sample: Sample
    given: str
    fix: str


def look_at(
    loaded: Loaded, samples: Sequence[Sample], question: Mapping[str, Any], random_state: int
) -> Iterator[Look | Failure]:
    """Every picture in turn, a few at a time; a picture that fails is told, and the others are done."""
    tell, done = PROGRESS.get(), 0
    for start in range(0, len(samples), BATCH):
        some = samples[start : start + BATCH]
        token = PROGRESS.set(None)  # what is told here are pictures, not the passes of a method
        try:
            found = _batch(loaded, some, question, random_state)
        finally:
            PROGRESS.reset(token)
        yield from found
        done += len(some)
        if tell:
            tell(done, len(samples))


def _batch(
    loaded: Loaded, samples: Sequence[Sample], question: Mapping[str, Any], random_state: int
) -> list[Look | Failure]:
    """All of them in one go; one by one where one of them fails, so that the others are done."""
    try:
        return list(_looks(loaded, samples, question, random_state))
    except InputError as mistake:
        if len(samples) == 1:
            return [Failure(samples[0], mistake.given, mistake.fix)]
    return [found for sample in samples for found in _batch(loaded, [sample], question, random_state)]


def _looks(loaded: Loaded, samples: Sequence[Sample], question: Mapping[str, Any], random_state: int) -> Iterator[Look]:
    paths = [str(sample.path) for sample in samples]
    found = explain(loaded, paths, **question, random_state=random_state)
    if not isinstance(found, Explanation):
        raise InputError("several methods or targets were given; an audit asks one question.", "Give one of each.")
    shares = attention(found.map)
    small = attention(np.asarray(resize(shares, (GRID, GRID))))
    figures = _figures(shares)
    if samples[0].mask is not None:
        masks = masks_for([str(sample.mask) for sample in samples], found.geometries)
        area = np.where(masks.any(axis=(1, 2)), masks.mean(axis=(1, 2)), np.nan)
        figures |= {"inside_mask": share_inside(shares, masks), "mask_area": area}
        figures |= _falls(loaded, paths, masks, found, random_state)
    for i, sample in enumerate(samples):
        top = found.top[i][0] if found.top[i] else None
        yield Look(
            sample,
            top["label"] if top else f"{found.score[i]:.4g}",
            top["probability"] if top else float("nan"),
            _right(sample, top, loaded),
            float(found.score[i]),
            small[i],
            {name: float(values[i]) for name, values in figures.items()},
        )


def _figures(shares: np.ndarray) -> dict[str, np.ndarray]:
    size = shares.shape[1], shares.shape[2]
    return {"border": share_inside(shares, border(*size)), "corners": share_inside(shares, corners(*size))}


def _falls(
    loaded: Loaded, paths: Sequence[str], masks: np.ndarray, found: Explanation, random_state: int
) -> dict[str, np.ndarray]:
    """By how much the answer's probability falls when the mask is painted over, and when as much elsewhere is; and
    whether another answer is then given. Nothing for what is no class."""
    if not found.top[0]:
        return {}
    x = take(list(paths), loaded.model, preprocessing_for(loaded)).x
    images = np.moveaxis(to_numpy(x), loaded.model.channel, -1)
    before = np.array([top[0]["probability"] for top in found.top])
    answers = np.array([top[0]["index"] for top in found.top])
    figures = {}
    for name, hidden in (("mask", masks), ("elsewhere", elsewhere(masks, random_state))):
        made = np.moveaxis(painted_over(images, hidden), -1, loaded.model.channel)
        trace = loaded.model.run(like(np.ascontiguousarray(made), x))
        sure = probabilities(to_numpy(trace.outputs), trace.head, loaded.labels)
        assert sure is not None
        figures[f"fall_{name}"] = before - sure[np.arange(len(sure)), answers]
        figures[f"changed_{name}"] = (sure.argmax(axis=1) != answers).astype(np.float64)
    empty = ~masks.any(axis=(1, 2))
    return {name: np.where(empty, np.nan, values) for name, values in figures.items()}


def _right(sample: Sample, top: Mapping[str, Any] | None, loaded: Loaded) -> bool | None:
    if sample.truth is None or top is None:
        return None
    truth = sample.truth
    return bool(top["index"] == index_of(int(truth) if truth.isdecimal() else truth, loaded.labels))
