"""What is explained: class, name, rank, contrast, direction of a regression, region of a segmentation, any function."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import groupby
from typing import Any, Protocol

import numpy as np

from sightline.arrays import Array, to_numpy
from sightline.errors import TargetError
from sightline.labels import check_count, check_index, index_of, is_label, label_of
from sightline.model import Target
from sightline.scores import (
    NOTHING,
    EachImage,
    answers,
    as_target,
    check_classes,
    is_quantity,
    name_of,
    pick_target,
)

Spec = Any  # int, str, Region, a function of one image's scores, or a list of these
Facts = dict[str, Any]  # {"index": ..., "label": ...}


@dataclass(frozen=True, eq=False)
class Region:
    """The scores of one class of a segmentation, summed over the true pixels of `mask` (height, width) of the output.

    >>> Region("road", [[False, True], [False, True]]).target
    'road'
    """

    target: int | str
    mask: Any


@dataclass(frozen=True)
class Settled:
    """What is explained, once the model has answered."""

    make: Callable[[], Target]
    facts: list[list[Facts]]  # for each target, for each image
    as_guessed: bool  # so that the pass that asked by the guess need not be done again

    @cached_property
    def target(self) -> Target:
        """The targets, for the passes after the one that settled them: many a method has none."""
        return self.make()


class Wanted(Protocol):
    """Targets that one pass answers."""

    def guess(self, x: Array) -> Target | None:
        """The targets as they can be put before the model has answered; None where they cannot."""

    def settle(self, outputs: Array, head: str) -> Settled:
        """The targets by the model's answer; TargetError where the outputs do not have them."""


def wanted(specs: Sequence[Spec], labels: Sequence[str], channel: int) -> list[Wanted]:
    """What `specs` ask for, in their order, of a model whose images have that axis of channels, counted from the end.

    TargetError for a name that no class has.
    """
    if not specs:
        raise TargetError("an empty list of targets was given.", "Give at least one, such as 'top'.")
    found: list[Wanted] = []
    for kind, group in groupby(specs, _kind):
        if kind == "function":
            found += [Function(spec) for spec in group]
        elif kind == "region":
            found.append(Regions(tuple(group), tuple(labels), channel))
        else:
            found.append(Picks(tuple(pick for spec in group for pick in picks_of(spec, labels)), tuple(labels)))
    return found


def _kind(spec: Spec) -> str:
    if isinstance(spec, Region):
        return "region"
    return "function" if callable(spec) else "pick"


@dataclass(frozen=True)
class Function:
    """A user's own function of one image's scores."""

    function: Callable[[Array], Array]

    def guess(self, x: Array) -> Target:
        """The function itself."""
        return Target(EachImage(self.function))

    def settle(self, outputs: Array, head: str) -> Settled:
        """The function itself."""
        facts = {"index": None, "label": name_of(self.function)}
        return Settled(partial(self.guess, outputs), [[facts] * outputs.shape[0]], True)


@dataclass(frozen=True)
class Regions:
    """Regions of a segmentation."""

    regions: tuple[Region, ...]
    labels: tuple[str, ...]
    channel: int  # of the images: where the outputs' shape leaves it open, the classes are there too

    def guess(self, x: Array) -> None:
        """Where the classes are is told by the outputs."""

    def settle(self, outputs: Array, head: str) -> Settled:
        """Weights of the outputs' own shape."""
        each = [_region(region, tuple(outputs.shape), self.labels, self.channel) for region in self.regions]
        weights = np.stack([weights for weights, _ in each])
        return Settled(partial(as_target, weights, outputs), [[facts] * outputs.shape[0] for _, facts in each], False)


def _region(region: Region, shape: tuple[int, ...], labels: Sequence[str], own: int) -> tuple[np.ndarray, Facts]:
    mask = to_numpy(region.mask).astype(bool)
    axes = _axes_of_classes(shape, own)
    if mask.shape not in axes:
        raise TargetError(
            f"a region of {mask.shape} was given; the model's output is {shape[1:]}.",
            "Give a mask of the output's own height and width, for a model that gives a score for each place.",
        )
    channel = axes[mask.shape]
    check_count(labels, shape[channel])
    index = check_index(index_of(region.target, labels), shape[channel])
    weights = np.zeros(shape, np.float32)
    np.moveaxis(weights, channel, 0)[index] = mask
    return weights, {"index": index, "label": f"{label_of(index, labels)} in a region of {int(mask.sum())} cells"}


def _axes_of_classes(shape: tuple[int, ...], own: int) -> dict[tuple[int, ...], int]:
    """Height and width that a mask may have -> where the classes then are; `own` where both are possible."""
    if len(shape) != 4:
        return {}
    first, last = (shape[-2:], 1), (shape[1:3], -1)
    return dict([first, last] if own == -1 else [last, first])


@dataclass(frozen=True)
class Pick:
    """One score: outputs named by class, or by rank in each image, and their signs."""

    kind: str  # "class", "rank", "contrast", "up" or "down"
    terms: tuple[tuple[int, int], ...]  # (class, or -1 - rank; sign)
    text: str  # as it was given


@dataclass(frozen=True)
class Picks:
    """Classes, ranks, contrasts and directions."""

    picks: tuple[Pick, ...]
    labels: tuple[str, ...]

    def guess(self, x: Array) -> Target:
        """Classes and ranks as they were given, which is right for a classifier."""
        picks, signs = _arrays([pick.terms for pick in self.picks])
        return pick_target(np.broadcast_to(picks, (x.shape[0], *picks.shape)), signs, x)

    def settle(self, outputs: Array, head: str) -> Settled:
        """The class of each rank in each image; and which way "top" and "up" are, where there is but one output."""
        check_classes(outputs)
        check_count(self.labels, outputs.shape[1])
        terms = [_terms(pick, outputs.shape[1], is_quantity(outputs, head, self.labels)) for pick in self.picks]
        order = np.argsort(-answers(outputs), axis=1, kind="stable")
        (guessed, _), (picks, signs) = _arrays([pick.terms for pick in self.picks]), _arrays(terms)
        classes = _classes(picks, order)
        facts = [
            [_facts(pick, row[: len(pick.terms)], outputs, head, self.labels) for row in rows.tolist()]
            for pick, rows in zip(self.picks, np.moveaxis(classes, 1, 0))
        ]
        as_guessed = np.array_equal(_classes(guessed, order), classes)
        return Settled(partial(pick_target, classes, signs, outputs), facts, as_guessed)


def _arrays(terms: Sequence[Sequence[tuple[int, int]]]) -> tuple[np.ndarray, np.ndarray]:
    """Picks and signs (k, 2); one of a single term is filled up, so that a compiled pass serves all of them."""
    filled = np.array([[*some, (NOTHING, 0)][:2] for some in terms])
    return filled[..., 0], filled[..., 1]


def _classes(picks: np.ndarray, order: np.ndarray) -> np.ndarray:
    """The class of each pick in each image, (n, k, terms)."""
    ranks = np.clip(-1 - picks, 0, order.shape[1] - 1)
    return np.where((picks < 0) & (picks != NOTHING), order[:, ranks], picks)


def _terms(pick: Pick, outputs: int, quantity: bool) -> tuple[tuple[int, int], ...]:
    """The terms of `pick` for that many outputs; TargetError where these do not have them."""
    count = max(outputs, 2)
    if pick.kind in ("up", "down"):
        return _direction(pick, outputs)
    if pick.kind == "rank" and -pick.terms[0][0] > (1 if quantity else count):
        raise TargetError(
            f"target {pick.text!r} was given; the model has {1 if quantity else count} classes to rank.",
            "Ask for fewer.",
        )
    if quantity and pick.kind != "rank":
        raise TargetError(
            f"target {pick.text!r} was given; the model has one output without a sigmoid, which may be a quantity.",
            "Use target='up' or 'down', or name the two classes with labels.",
        )
    if pick.kind != "rank":
        [check_index(index, count) for index, _ in pick.terms]
    return ((1, 1),) if quantity else pick.terms


def _direction(pick: Pick, outputs: int) -> tuple[tuple[int, int], ...]:
    ((output, sign),) = pick.terms
    named = ":" in pick.text
    if output >= outputs if named else outputs > 1:
        raise TargetError(
            f"target {pick.text!r} was given; the model has {outputs} outputs.",
            f"Say which output goes {pick.kind}, for example {pick.kind}:{outputs - 1}.",
        )
    return ((output, sign),) if outputs > 1 else ((1, sign),)


def _facts(pick: Pick, classes: Sequence[int], outputs: Array, head: str, labels: Sequence[str]) -> Facts:
    if pick.kind == "contrast":
        return {"index": list(classes), "label": " - ".join(label_of(i, labels) for i in classes)}
    way = "up" if pick.kind == "rank" and is_quantity(outputs, head, labels) else pick.kind
    if way not in ("up", "down"):
        return {"index": classes[0], "label": label_of(classes[0], labels)}
    index, several = (classes[0], True) if outputs.shape[1] > 1 else (0, False)
    return {"index": index, "label": f"{label_of(index, labels)} {way}" if several or len(labels) == 1 else way}


def picks_of(spec: int | str, labels: Sequence[str]) -> list[Pick]:
    """The scores that `spec` names, more than one for "top-3"; TargetError for a name that no class has."""
    text = str(spec).strip()
    if ranks := re.fullmatch(r"top(?:-(\d+))?", text.lower()):
        if ranks[1] and int(ranks[1]) == 0:
            raise TargetError(
                f"target {text!r} was given; expected at least one rank.", "Write top-1, top-5 and so on."
            )
        return [Pick("rank", ((-1 - rank, 1),), text) for rank in range(int(ranks[1] or 1))]
    if (way := re.fullmatch(r"(up|down)(?::(\d+))?", text.lower())) and not is_label(text, labels):
        output = int(way[2] or 1)  # without a number the one output is meant, whose class 1 it raises
        return [Pick(way[1], ((output, 1 if way[1] == "up" else -1),), text)]
    if (parts := _contrast(text, labels)) is not None:
        first, second = (index_of(part, labels) for part in parts)
        return [Pick("contrast", ((first, 1), (second, -1)), text)]
    return [Pick("class", ((index_of(spec, labels), 1),), text)]


def _contrast(text: str, labels: Sequence[str]) -> tuple[str, str] | None:
    """The two sides of "a - b": none where a class is called just that; sides that are known, of a name with a dash."""
    if " - " not in text or is_label(text.removeprefix("name:").strip(), labels):
        return None
    parts = text.split(" - ")
    sides = [(" - ".join(parts[:i]).strip(), " - ".join(parts[i:]).strip()) for i in range(1, len(parts))]
    known = (both for both in sides if all(_is_class(side, labels) for side in both))
    return next(known, sides[0])


def _is_class(text: str, labels: Sequence[str]) -> bool:
    return text.isdigit() or is_label(text.removeprefix("name:").strip(), labels)
