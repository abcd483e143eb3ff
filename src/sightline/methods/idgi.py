"""Important direction gradient integration (IDGI), over any path method."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal

from sightline.arrays import Array, namespace
from sightline.method import Checks, method
from sightline.methods._paths import Step, mean_of, residual, several
from sightline.methods.blur_integrated_gradients import blur_walk
from sightline.methods.guided_integrated_gradients import guided_walk
from sightline.methods.integrated_gradients import straight_walk
from sightline.model import Model, Target

_WALKS: dict[str, Callable[..., Iterator[Step]]] = {
    "integrated-gradients": straight_walk,
    "blur-integrated-gradients": blur_walk,
    "guided-integrated-gradients": guided_walk,
}


@method(
    "gradient",
    family="path",
    cost="(steps + 1) FB, a baseline",
    source="Yang et al. 2023, algorithm 1, arXiv:2303.14242",
)
def idgi(
    model: Model,
    x: Array,
    target: Target,
    *,
    of: Literal[
        "integrated-gradients", "blur-integrated-gradients", "guided-integrated-gradients"
    ] = "integrated-gradients",
    **params: Any,
) -> tuple[Array, Checks]:
    """Each step of a path shares its change of the score out by the squares of the gradient.

    Shape (k, n, *image), signed, in units of score. `of` names the method whose path is taken; options that are not its
    own go to the path; of several baselines, the mean. The sum is exactly the score's change but for steps that start
    where the gradient is zero, whose change is left out. Check: `residual`, the share left out. The squares hide which
    way a value speaks: all values of a step have the sign of the step.
    """
    baselines = several(params.get("baseline"))
    parts = [
        _shared(_WALKS[of](model, x, target, **(params if each is None else params | {"baseline": each})))
        for each in baselines
    ]
    found, change = (mean_of(each) for each in zip(*parts))
    return found, {"residual": residual(found, change)}


def _shared(walk: Iterator[Step]) -> tuple[Array, Array]:
    """(the attribution, the change of the score) along a path."""
    first, gradient = next(walk)
    found, score = 0.0, first
    for after, following in walk:
        found = found + _shares(gradient) * (after - score)[(..., *[None] * (gradient.ndim - 2))]
        score, gradient = after, following
    return found, score - first


def _shares(gradient: Array) -> Array:
    """Squares of the gradient in shares of their sum; scaled first, so that no square leaves the range of numbers."""
    xp, axes = namespace(gradient), tuple(range(2, gradient.ndim))
    largest = xp.max(xp.abs(gradient), axis=axes, keepdims=True)
    squares = (gradient / xp.where(largest > 0, largest, xp.ones_like(largest))) ** 2
    total = xp.sum(squares, axis=axes, keepdims=True)
    return squares / xp.where(total > 0, total, xp.ones_like(total))
