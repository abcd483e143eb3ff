"""The answer of a measure: a number for each image, its mean with an error, and the protocol behind it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sightline.explanation import Explanation
from sightline.metric import METRICS

Facts = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Measurement:
    """What one metric says of the maps of one method and target.

    `values` (n,) float64, one an image, NaN where the metric has no answer (an empty mask, say); `protocol` every option
    of the metric; `curves` name -> (n, points) where it has some; `explanation` the maps that were measured; `seconds`
    for all of the images, without their explanation.
    """

    metric: str
    values: np.ndarray
    protocol: Facts
    curves: Mapping[str, np.ndarray] = field(repr=False)
    explanation: Explanation = field(repr=False)
    seconds: float

    @property
    def method(self) -> str:
        """Whose maps they are."""
        return self.explanation.method

    @property
    def mean(self) -> float:
        """The mean over the images that have an answer; NaN where none has."""
        return float(self._answered.mean()) if self._answered.size else math.nan

    @property
    def standard_error(self) -> float:
        """Standard error of the mean over the images; NaN for fewer than two."""
        values = self._answered
        return float(values.std(ddof=1) / math.sqrt(values.size)) if values.size > 1 else math.nan

    @property
    def better(self) -> str:
        """ "higher", "lower" or "neither"."""
        return METRICS[self.metric].better

    @property
    def range(self) -> tuple[float, float]:
        """The least and the largest value that there can be."""
        return METRICS[self.metric].low, METRICS[self.metric].high

    @property
    def _answered(self) -> np.ndarray:
        return np.asarray(self.values[np.isfinite(self.values)])

    def facts(self) -> Facts:
        """All but the curves, ready for JSON: a number that is NaN or infinite is None."""
        e = self.explanation
        return {
            "metric": self.metric,
            "method": self.method,
            "model": e.model,
            "mean": _finite(self.mean),
            "standard_error": _finite(self.standard_error),
            "values": [_finite(value) for value in self.values.tolist()],
            "without_answer": int(self.values.size - self._answered.size),
            "better": self.better,
            "range": [_finite(end) for end in self.range],
            "protocol": self.protocol,
            "params": e.params,
            "layer": e.layer,
            "target": e.target,
            "images": [picture.name for picture in e.pictures],
            "random_state": e.random_state,
            "notes": list(e.notes),
            "seconds": round(self.seconds, 4),
        }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
