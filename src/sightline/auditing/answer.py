"""The answer of an audit: figures with intervals, what they say in words, and what a pipeline can act on."""

from __future__ import annotations

import json
import math
import operator
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sightline import pictures
from sightline.auditing.clusters import Clusters
from sightline.auditing.contrasts import Contrast
from sightline.auditing.findings import findings
from sightline.auditing.looking import Failure, Look
from sightline.errors import InputError, MethodError, nearest
from sightline.figures import Figure

_SIGNS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


@dataclass(frozen=True, eq=False)
class Odd:
    """A picture whose map is little like those of its class: `oddness` is 1 - their correlation."""

    look: Look
    oddness: float
    picture: Any  # a PIL image


@dataclass(frozen=True, eq=False)
class Audit:
    """Where a model looks in a data set; see `sightline.audit` for the names of the figures.

    `figures` name -> Figure, a mean with the ends of its 95 % interval; `by_class` the same for each class; `looks` what
    each picture showed; `contrasts` right answers against wrong ones and groups against each other; `clusters` of the
    maps of each class; `odd` the pictures that are least like their class, first; `against` the other model's audit, and
    `differences` how much more this one has, picture by picture.
    """

    model: str
    question: Mapping[str, Any]
    random_state: int
    looks: list[Look] = field(repr=False)
    failures: list[Failure]
    figures: Mapping[str, Figure]
    by_class: Mapping[str, Mapping[str, Figure]] = field(repr=False)
    mean_maps: Mapping[str, np.ndarray] = field(repr=False)
    clusters: Mapping[str, Clusters] = field(repr=False)
    contrasts: list[Contrast]
    odd: list[Odd] = field(repr=False)
    against: Audit | None
    differences: Mapping[str, Figure]
    seconds: float

    @property
    def findings(self) -> list[str]:
        """What the figures say, a sentence each."""
        return findings(self.figures, self.contrasts, self.clusters)

    def fails(self, condition: str) -> bool:
        """Whether "inside_mask < 0.5" holds; of the mean, or of "inside_mask.low" or ".high", the interval's ends.

        Raises MethodError for another form, for a figure that is not there, and for one without a value.
        """
        name, sign, number = parse(condition)
        name, _, end = name.partition(".")
        if name not in self.figures or end not in ("", "mean", "low", "high"):
            raise MethodError(
                f"the condition {condition!r} was given; this audit has the figures {', '.join(self.figures)}.",
                nearest(name, self.figures, "one of these, or give --masks or true classes"),
            )
        value = float(getattr(self.figures[name], end or "mean"))
        if math.isnan(value):
            raise MethodError(
                f"the condition {condition!r} was given; {name} has no value here.", "Give more pictures."
            )
        return bool(_SIGNS[sign](value, number))

    def facts(self) -> dict[str, Any]:
        """All but pictures and arrays, ready for JSON; the figures stand at its top."""
        return {
            **_told(self.figures),
            "model": self.model,
            "question": {name: str(value) for name, value in self.question.items()},
            "random_state": self.random_state,
            "findings": self.findings,
            "by_class": {name: _told(figures) for name, figures in self.by_class.items()},
            "clusters": {name: _sizes(found) for name, found in self.clusters.items()},
            "contrasts": [asdict(each) for each in self.contrasts],
            "odd": [{"image": each.look.sample.name, "oddness": _number(each.oddness)} for each in self.odd],
            "against": self.against and self.against.facts(),
            "differences": _told(self.differences),
            "images": [_look(look) for look in self.looks],
            "failures": [{"image": f.sample.name, "given": f.given, "fix": f.fix} for f in self.failures],
            "seconds": round(self.seconds, 2),
        }

    def save(self, path: str | Path) -> Path:
        """Write .html (a page that needs nothing beside it) or .json, whole or not at all; InputError otherwise."""
        from sightline.auditing.report import report

        path = Path(path)
        if path.suffix.lower() not in (".html", ".json"):
            raise InputError(f"{path} was given; its ending is not known.", "End it in .html, .json.")
        text = report(self) if path.suffix.lower() == ".html" else json.dumps(self.facts(), indent=2)
        pictures.write_whole(path, lambda file: file.write(text.encode()))
        return path


def parse(condition: str) -> tuple[str, str, float]:
    """Name, sign and number of "inside_mask < 0.5"; MethodError for another form."""
    parts = re.fullmatch(r"\s*([a-z_.]+)\s*(<=|>=|<|>)\s*(-?\d*\.?\d+)\s*", condition)
    if parts is None:
        raise MethodError(
            f"the condition {condition!r} was given; expected a figure, a sign and a number.",
            'Write it like "inside_mask < 0.5" or "accuracy.low < 0.9".',
        )
    return parts[1], parts[2], float(parts[3])


def _told(figures: Mapping[str, Figure]) -> dict[str, Any]:
    return {name: figure.facts() for name, figure in figures.items()}


def _sizes(found: Clusters) -> dict[str, Any]:
    return {"sizes": np.bincount(found.member).tolist(), "silhouette": _number(found.silhouette)}


def _look(look: Look) -> dict[str, Any]:
    return {
        "image": look.sample.name,
        "truth": look.sample.truth,
        "group": look.sample.group,
        "answer": look.answer,
        "probability": _number(look.probability),
        "right": look.right,
        "score": _number(look.score),
        **{name: _number(value) for name, value in look.figures.items()},
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
