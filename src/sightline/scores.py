"""Scores: what a target makes of a model's outputs, inside the pass itself, in any framework."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sightline.arrays import Array, at_least_float32, beside, like, logsumexp, namespace, over_rows, to_numpy
from sightline.eager import on_host
from sightline.errors import ModelError, TargetError
from sightline.model import Target

_ROUNDING = 1e-3  # by which probabilities may miss a sum of 1
HEADS = ("softmax", "sigmoid", NO_HEAD := "none")  # what a caller may tell of scores that a model ends in
NOTHING = -(2**30)  # a pick that no class and no rank answers to


@on_host
def picked(outputs: Array, picks: Array, signs: Array) -> Array:
    """Scores (k, n): the sum of what `picks` (n, k, terms) names in `outputs` (n, classes), each with its sign.

    A pick is a class, or -1 - rank for the class of that rank in each image (0 the highest), so that no pass is spent
    on asking for it. One output z has two classes, 0 with the score -z and 1 with z. TargetError for a segmentation.
    """
    check_classes(outputs)
    xp, scores = namespace(outputs), classes(outputs)
    numbers = like(np.arange(scores.shape[1]), picks)
    ranks = xp.astype(xp.argsort(xp.argsort(-scores, axis=-1), axis=-1), picks.dtype)[:, None, None, :]
    scores = scores[:, None, None, :]
    named = (picks[..., None] == numbers) | (picks[..., None] == -1 - ranks)
    terms = xp.where(named, scores, xp.zeros_like(scores)) * xp.astype(signs, scores.dtype)[..., None]
    return xp.permute_dims(xp.sum(terms, axis=(-2, -1)), (1, 0))


@on_host
def picked_top(outputs: Array, picks: Array, signs: Array) -> Array:
    """`picked` of classes and of the highest class alone, which needs no sorting."""
    check_classes(outputs)
    xp, scores = namespace(outputs), classes(outputs)
    top = xp.argmax(scores, axis=-1)[:, None, None]
    index = xp.where(picks == -1, top, xp.clip(picks, 0, scores.shape[1] - 1))  # no class of that number: refused later
    asked = tuple(picks.shape[1:])  # while a pass is traced the number of images may be unknown
    flat = xp.take_along_axis(scores, xp.reshape(index, (-1, asked[0] * asked[1])), axis=-1)
    terms = xp.reshape(flat, (-1, *asked))
    terms = xp.where(signs == 0, xp.zeros_like(terms), terms * xp.astype(signs, terms.dtype))
    return xp.permute_dims(xp.sum(terms, axis=-1), (1, 0))


def classes(outputs: Array) -> Array:
    """The score of each class (n, classes); one output z has two, -z and z."""
    return outputs if outputs.shape[1] > 1 else namespace(outputs).concat([-outputs, outputs], axis=-1)


def check_classes(outputs: Array) -> None:
    """TargetError for outputs with a score for each place, and for detections."""
    shape = tuple(outputs.shape[1:])
    if len(shape) == 2 and shape[1] == 6:
        raise TargetError(
            f"a class was asked for; the model gives {shape[0]} detections.",
            "Say at which box: target=sl.Box((x0, y0, x1, y1), class), or sl.Box(0) for the surest (--target box:0).",
        )
    if len(shape) != 1:
        raise TargetError(
            f"a class was asked for; the model's output has a score for each place, of shape {shape}.",
            "Say where: target=sl.Region(class, mask); without a mask, where the model says it (--target region:CLASS).",
        )


def weighted(outputs: Array, weights: Array) -> Array:
    """Scores (k, n): `outputs` (n, ...) summed with `weights` (n, k, ...); what has no weight may be infinite."""
    outputs = at_least_float32(outputs)  # a layer may be in half precision where the image is not
    xp = namespace(outputs)
    weights = xp.moveaxis(xp.astype(weights, outputs.dtype), 1, 0)
    terms = xp.where(weights == 0, xp.zeros_like(weights), outputs[None] * weights)
    return xp.sum(terms, axis=tuple(range(2, len(weights.shape))))


@dataclass(frozen=True)
class EachImage:
    """A user's function of one image's scores (classes,) -> scalar, over the images of a batch."""

    function: Callable[[Array], Array]

    def __call__(self, outputs: Array) -> Array:
        """Scores (1, n); TargetError where the function fails, or gives no scalar."""
        try:
            return over_rows(self.function, outputs)[None]
        except Exception as error:
            shape = tuple(outputs.shape[1:])
            raise TargetError(
                f"the target {name_of(self.function)} was given; it failed on one image's scores {shape}: {error}",
                "Give a function that takes the scores of one image and returns one number, in the framework's own words.",
            ) from error


def name_of(function: Callable[..., object]) -> str:
    """What a user's own function is called."""
    return str(getattr(function, "__name__", type(function).__name__))


def pick_target(picks: np.ndarray, signs: np.ndarray, a: Array) -> Target:
    """The target of `picks` (n, k, terms) and their signs (k, terms), as arrays of the framework of `a`."""
    each = np.broadcast_to(signs, picks.shape)
    score = picked_top if np.all((picks >= -1) | (picks == NOTHING)) else picked
    return Target(score, tuple(beside(np.array(values, np.int32), a) for values in (picks, each)))


def as_target(weights: np.ndarray, outputs: Array) -> Target:
    """The target that weighs `outputs` (n, ...) by `weights` (k, n, ...)."""
    return Target(weighted, (like(np.ascontiguousarray(np.moveaxis(weights, 0, 1)), outputs),))


@dataclass(frozen=True)
class Probability:
    """The probability of a class, from its score: a change of a target's scores, equal for an equal head."""

    head: str  # "softmax", "sigmoid" or "" as a pass tells it

    def __call__(self, outputs: Array, scores: Array) -> Array:
        """Probabilities (k, n) of `scores` (k, n), each a class's among `outputs` (n, classes)."""
        xp = namespace(outputs)
        if self.head == "sigmoid" or outputs.shape[1] == 1:
            return 0.5 * (1 + xp.tanh(scores / 2))
        return xp.exp(scores - logsumexp(outputs)[None, :])


@dataclass(frozen=True)
class Highest:
    """Whether a class has the highest score, 1 or 0: a change of a target's scores."""

    def __call__(self, outputs: Array, scores: Array) -> Array:
        """Ones and zeros (k, n) for `scores` (k, n), each a class's among `outputs` (n, classes)."""
        xp = namespace(outputs)
        most = xp.max(outputs if outputs.shape[1] > 1 else xp.abs(outputs), axis=-1)
        return xp.astype(scores >= most[None, :], scores.dtype)


def answers(outputs: Array) -> np.ndarray:
    """Scores (n, classes) on the host, in float64; one output z has the two classes -z and z, as inside a pass."""
    values = to_numpy(outputs).astype(np.float64)
    return values if values.shape[1] > 1 else np.concatenate([-values, values], axis=1)


def highest(outputs: Array, count: int) -> np.ndarray:
    """The highest classes of each image in their order (n, count), or all that there are; of equal ones the first."""
    values = answers(outputs)
    return values.argmax(axis=1)[:, None] if count == 1 else np.argsort(-values, axis=1, kind="stable")[:, :count]


def is_quantity(outputs: Array, head: str, labels: Sequence[str]) -> bool:
    """Whether the model's one output may be a quantity: no sigmoid, and not two names for its classes."""
    return len(outputs.shape) == 2 and outputs.shape[1] == 1 and head != "sigmoid" and len(labels) != 2


def head_of(seen: str, told: str | None) -> str:
    """What the scores go through: what the caller told, else what was seen; ModelError where these differ."""
    if seen and told not in (None, seen):
        raise ModelError(f"head={told!r} was given; the model ends in a {seen}.", "Leave head= (--head) out.")
    return told or seen


def already_sure(outputs: np.ndarray, head: str) -> np.ndarray:
    """For each image (n,) whether its outputs are probabilities already, of a softmax that was not seen."""
    if head not in ("", NO_HEAD) or len(outputs.shape) != 2 or outputs.shape[1] < 2:
        return np.zeros(outputs.shape[0], bool)
    return np.asarray((outputs >= 0).all(axis=1) & (np.abs(outputs.sum(axis=1, dtype=np.float64) - 1) <= _ROUNDING))


def probabilities(outputs: np.ndarray, head: str, labels: Sequence[str]) -> np.ndarray | None:
    """Probabilities (n, classes) of `outputs`; None for a segmentation, quantities, and one output that may be one.

    Several outputs without a head are taken for scores of classes, which they are not in a regression of several
    quantities; where they are not negative and sum to 1, for the probabilities themselves.
    """
    if len(outputs.shape) != 2 or head == NO_HEAD or is_quantity(outputs, head, labels):
        return None
    scores = answers(outputs)
    if head == "sigmoid" or outputs.shape[1] == 1:
        return np.asarray(0.5 * (1 + np.tanh(scores / 2)))
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.where(already_sure(outputs, head)[:, None], scores, powers / powers.sum(axis=1, keepdims=True))
