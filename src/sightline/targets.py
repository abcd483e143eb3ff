"""What is explained: class, name, rank, contrast, direction of a regression, region of a segmentation, any function."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any

import numpy as np

from sightline.arrays import Array
from sightline.boxes import Box, Boxes
from sightline.errors import TargetError
from sightline.labels import check_count, check_index, index_of, is_label, label_of
from sightline.model import Target
from sightline.regions import Region, Regions
from sightline.scores import (
    NOTHING,
    EachImage,
    check_classes,
    highest,
    is_quantity,
    name_of,
    pick_target,
)
from sightline.settled import Facts, Images, Settled, Wanted
from sightline.similarity import Similar, Similarity

Spec = Any  # int, str, Region, a function of one image's scores, or a list of these


def wanted(specs: Sequence[Spec], labels: Sequence[str], channel: int, images: Images) -> list[Wanted]:
    """What `specs` ask for of `images`, in their order, of a model whose images have that axis of channels.

    TargetError for a name that no class has.
    """
    if not specs:
        raise TargetError("an empty list of targets was given.", "Give at least one, such as 'top'.")
    found: list[Wanted] = []
    for kind, group in groupby([spec_of(spec, labels) for spec in specs], _kind):
        if kind == "function":
            found += [Function(spec) for spec in group]
        elif kind == "similarity":
            found += group
        elif kind == "box":
            found.append(Boxes(tuple(group), tuple(labels), images))
        elif kind == "region":
            found.append(Regions(tuple(group), tuple(labels), channel, images))
        else:
            found.append(Picks(tuple(pick for spec in group for pick in picks_of(spec, labels)), tuple(labels)))
    return found


def spec_of(spec: Spec, labels: Sequence[str]) -> Spec:
    """`spec`, or what it says as text: "region:road", "box:0", "box:10,20,50,60:cat", "similar:FILE", "text:WORDS".

    >>> spec_of("region:road", ()).target
    'road'
    """
    text = spec.strip() if isinstance(spec, str) else ""
    kind, _, rest = (part.strip() for part in text.partition(":"))
    if not rest or is_label(text, labels):
        return spec
    kinds: dict[str, Callable[[str], Spec]] = {
        "region": Region,
        "box": _box,
        "similar": Similar,
        "text": lambda words: Similar(text=words),
    }
    return kinds[kind](rest) if kind in kinds else spec


def _box(text: str) -> Box:
    where, _, target = (part.strip() for part in text.partition(":"))
    try:
        edges = [float(edge) for edge in where.split(",")]
    except ValueError:
        raise TargetError(
            f"target {'box:' + text!r} was given; {where!r} is no box.", "Write box:x0,y0,x1,y1:CLASS or box:0."
        ) from None
    return Box(edges if "," in where else int(edges[0]), target or None)


def _kind(spec: Spec) -> str:
    kinds = {Region: "region", Box: "box", Similarity: "similarity"}
    return kinds.get(type(spec), "function" if callable(spec) else "pick")


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
        check_count(self.labels, outputs.shape[1], head)
        terms = [_terms(pick, outputs.shape[1], is_quantity(outputs, head, self.labels)) for pick in self.picks]
        (guessed, _), (picks, signs) = _arrays([pick.terms for pick in self.picks]), _arrays(terms)
        order = highest(outputs, max(1, -guessed[guessed != NOTHING].min()))
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
