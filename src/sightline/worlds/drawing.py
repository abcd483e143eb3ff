"""What every world has in common: pictures with a known answer, and changes of one thing in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sightline.errors import InputError, nearest
from sightline.worlds.painting import Array


@dataclass(frozen=True)
class Drawing:
    """A painted picture: `image` (h, w, 3) uint8, and where things are, (h, w) bool each.

    `mask` holds what the answer hangs on, `distractors` what may mislead, `background` what is neither the object nor a
    distractor. `label` is the right answer, the index of a class or a quantity; `parameters` are what it was painted
    from; `facts` are those worth a column of a table.
    """

    image: Array
    mask: Array
    distractors: Array
    background: Array
    label: float
    parameters: Any
    facts: Mapping[str, str | int | float]


class Intervention(NamedTuple):
    """A change of one thing in a picture's parameters, and the right answer of the world's net afterwards.

    `answer` takes the drawings before and after.
    """

    change: Callable[[Any], Any]
    answer: Callable[[Drawing, Drawing], float]


class Recipe(NamedTuple):
    """How a net learns: from how many pictures, in how many steps, of how many each, and at which highest rate."""

    pictures: int
    steps: int
    batch: int
    rate: float


@dataclass(frozen=True)
class World:
    """What is needed to draw the pictures of a world and to load the net that was trained on them.

    `draw(seed, size=...)` paints a picture as the net was trained on, `render(parameters, size)` one of given
    parameters; `preprocess` is how the net takes pictures, `net` what builds it, `weights` its file, if it has one.
    One label is that of a quantity.
    """

    draw: Callable[..., Drawing]
    render: Callable[[Any, int], Drawing]
    labels: tuple[str, ...]
    size: int
    preprocess: str
    net: str
    weights: Path | None
    interventions: Mapping[str, Intervention]
    recipe: Recipe | None = None  # where the net has something to learn
    seed: int = 0  # of the shipped net's training
    start: str | None = None  # the world whose net's features it began with
    truth: Callable[..., Mapping[str, Array]] | None = None  # attributions in closed form, where they are known

    def intervene(self, parameters: Any, name: str, *, size: int | None = None) -> Drawing:
        """The picture of these parameters with one thing changed, and all else, noise too, as it was.

        Raises InputError for an intervention that this world does not have, or that this picture does not allow.
        """
        if name not in self.interventions:
            raise InputError(
                f"The intervention {name!r} was given; expected one of {', '.join(self.interventions) or 'none'}.",
                nearest(name, self.interventions, "the names above"),
            )
        return self.render(self.interventions[name].change(parameters), size or self.size)

    def name_of(self, drawing: Drawing) -> str:
        """The name of the right answer; of a quantity its value."""
        return self.labels[int(drawing.label)] if len(self.labels) > 1 else f"{drawing.label:g}"


def unchanged(before: Drawing, after: Drawing) -> float:
    """The answer stays."""
    return before.label


def as_shown(before: Drawing, after: Drawing) -> float:
    """The answer is what the changed picture shows."""
    return after.label


def generator(seed: int, *more: int) -> np.random.Generator:
    """The random numbers of a picture; InputError for a negative seed."""
    if seed < 0:
        raise InputError(f"The seed is {seed}; expected 0 or more.", "Give a whole number such as 7.")
    return np.random.default_rng([seed, *more] if more else seed)


def check_size(size: int) -> None:
    """InputError for a size outside 32 to 1024."""
    if not 32 <= size <= 1024:
        raise InputError(f"The size is {size} pixels; expected 32 to 1024.", "Give size=96, for example.")
