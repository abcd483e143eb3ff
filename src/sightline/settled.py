"""What every kind of target answers to: a guess before the model has answered, and what it is afterwards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

from sightline.arrays import Array
from sightline.images import Geometry
from sightline.model import Target

Facts = dict[str, Any]  # {"index": ..., "label": ...} and what else tells the target


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


@dataclass(frozen=True)
class Images:
    """The images of one pass: where each lies on its picture, and which rows of all the images they are."""

    geometries: tuple[Geometry, ...]
    rows: slice = field(default_factory=lambda: slice(None))
