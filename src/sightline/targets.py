"""What is explained: class, name, rank, contrast, direction of a regression, region of a segmentation, any function."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sightline.arrays import Array, like, namespace, over_rows, to_numpy
from sightline.errors import TargetError, nearest
from sightline.model import Target

Spec = Any  # int, str, Region, a function of one image's scores, or a list of these
Facts = dict[str, Any]  # {"index": ..., "label": ...}


class NotRankedError(Exception):
    """Scores that cannot be ranked inside the pass: one column, or a score for each place."""


@dataclass(frozen=True, eq=False)
class Region:
    """The scores of one class of a segmentation, summed over the true pixels of `mask` (height, width) of the output."""

    target: int | str
    mask: Any


@dataclass(frozen=True)
class Ranked:
    """The scores in these ranks of each image (0 the highest), found inside the pass so that none is spent on asking."""

    ranks: tuple[int, ...]

    def __call__(self, outputs: Array) -> Array:
        """Scores (k, n) of outputs (n, classes); NotRankedError where there is nothing to rank."""
        if len(outputs.shape) != 2 or outputs.shape[-1] <= max(1, *self.ranks):
            raise NotRankedError
        xp = namespace(outputs)
        order = xp.argsort(-outputs, axis=-1)
        classes = like(np.arange(outputs.shape[-1])[None], order)
        chosen = (xp.where(classes == order[:, r : r + 1], outputs, xp.zeros_like(outputs)) for r in self.ranks)
        return xp.stack([xp.sum(scores, axis=-1) for scores in chosen], axis=0)


def weighted(outputs: Array, weights: Array) -> Array:
    """Scores (k, n): `outputs` (n, ...) summed with `weights` (n, k, ...); what has no weight may be infinite."""
    xp = namespace(outputs)
    weights = xp.moveaxis(weights, 1, 0)
    terms = xp.where(weights == 0, xp.zeros_like(weights), outputs[None] * weights)
    return xp.sum(terms, axis=tuple(range(2, len(weights.shape))))


@dataclass(frozen=True)
class EachImage:
    """A user's function of one image's scores (classes,) -> scalar, over the images of a batch."""

    function: Callable[[Array], Array]

    def __call__(self, outputs: Array) -> Array:
        """Scores (1, n)."""
        return over_rows(self.function, outputs)[None]


def ranks_of(spec: Spec) -> tuple[int, ...] | None:
    """The ranks that `spec` asks for ("top", "top-3"), or None if it names something else; TargetError for "top-0"."""
    found = re.fullmatch(r"top(?:-(\d+))?", spec.strip().lower()) if isinstance(spec, str) else None
    if not found:
        return None
    if found[1] and int(found[1]) == 0:
        raise TargetError(f"target {spec!r} was given; expected at least one rank.", "Write top-1, top-5 and so on.")
    return tuple(range(int(found[1] or 1)))


def settle(spec: Spec, outputs: Array, labels: Sequence[str], head: str) -> list[tuple[np.ndarray, list[Facts]]]:
    """Each target that `spec` names: its weights (n, *outputs), and what it is for each image."""
    ranks = ranks_of(spec)
    if ranks is not None:
        return [_rank(rank, outputs, labels, head) for rank in ranks]
    weights, facts = weights_of(spec, outputs, labels, head)
    return [(weights, [facts] * outputs.shape[0])]


def _rank(rank: int, outputs: Array, labels: Sequence[str], head: str) -> tuple[np.ndarray, list[Facts]]:
    values = to_numpy(outputs)
    if values.ndim == 2 and values.shape[1] == 1 and head != "sigmoid" and len(labels) != 2:
        classes = ["up"] * len(values)  # one number, which may be a quantity
    else:
        sure = probabilities(outputs, head, labels)
        if sure is None or rank >= sure.shape[1]:
            raise TargetError(
                f"target 'top-{rank + 1}' was given; the model's output is of shape {values.shape[1:]}.",
                "Ask for fewer, or say where with sl.Region(class, mask).",
            )
        scores = values if values.shape[1] > 1 else sure
        classes = [str(row[rank]) for row in np.argsort(-scores, axis=1, kind="stable")]
    each = [weights_of(name, outputs, labels, head) for name in classes]
    return np.stack([weights[i] for i, (weights, _) in enumerate(each)]), [facts for _, facts in each]


def function_facts(function: Callable[..., Any]) -> Facts:
    """What a user's own function is called."""
    return {"index": None, "label": getattr(function, "__name__", type(function).__name__)}


def weights_of(spec: Spec, outputs: Array, labels: Sequence[str], head: str) -> tuple[np.ndarray, Facts]:
    """What `spec` weighs each output with, (n, *outputs), and its name; TargetError where the outputs do not have it."""
    shape = tuple(outputs.shape)
    if isinstance(spec, Region):
        return _region(spec, shape, labels)
    text = str(spec).strip()
    direction = re.fullmatch(r"(up|down)(?::(\d+))?", text.lower())
    if direction and text not in labels:
        return _direction(direction[1], direction[2], shape, labels)
    if len(shape) != 2:
        raise TargetError(
            f"target {text!r} was given; the model's output has a score for each place, of shape {shape[1:]}.",
            "Say where: target=sl.Region(class, mask).",
        )
    contrast = [part.strip() for part in text.split(" - ")]
    if len(contrast) == 2 and text not in labels:
        (plus, first), (minus, second) = (weights_of(part, outputs, labels, head) for part in contrast)
        return plus - minus, {
            "index": [first["index"], second["index"]],
            "label": f"{first['label']} - {second['label']}",
        }
    return _class(spec, shape, labels, head)


def _class(spec: Spec, shape: tuple[int, ...], labels: Sequence[str], head: str) -> tuple[np.ndarray, Facts]:
    index = index_of(spec, shape[1] if shape[1] > 1 else 2, labels)
    weights = np.zeros(shape, np.float32)
    if shape[1] > 1:
        weights[:, index] = 1
    elif head == "sigmoid" or len(labels) == 2:
        weights[:] = 1 if index == 1 else -1
    else:
        raise TargetError(
            f"target {str(spec)!r} was given; the model has one output without a sigmoid, which may be a quantity.",
            "Use target='up' or 'down', or name the two classes with labels.",
        )
    return weights, {"index": index, "label": label_of(index, labels)}


def _direction(way: str, output: str | None, shape: tuple[int, ...], labels: Sequence[str]) -> tuple[np.ndarray, Facts]:
    count = shape[-1] if len(shape) == 2 else 0
    if not count or (output is None and count > 1) or int(output or 0) >= count:
        raise TargetError(
            f"target {way + (':' + output if output else '')!r} was given; the model has outputs of shape {shape[1:]}.",
            f"Say which output goes {way}, for example {way}:0.",
        )
    weights = np.zeros(shape, np.float32)
    weights[:, int(output or 0)] = 1 if way == "up" else -1
    named = f"{label_of(int(output or 0), labels)} {way}" if count > 1 or len(labels) == 1 else way
    return weights, {"index": int(output or 0), "label": named}


def _region(region: Region, shape: tuple[int, ...], labels: Sequence[str]) -> tuple[np.ndarray, Facts]:
    mask = np.asarray(region.mask, bool)
    axes = {shape[-2:]: 1, shape[1:3]: -1} if len(shape) == 4 else {}
    if mask.shape not in axes:
        raise TargetError(
            f"a region of {mask.shape} was given; the model's output is {shape[1:]}.",
            "Give a mask of the output's own height and width, for a model that gives a score for each place.",
        )
    channel = axes[mask.shape]
    index = index_of(region.target, shape[channel], labels)
    weights = np.zeros(shape, np.float32)
    np.moveaxis(weights, channel, 0)[index] = mask
    return weights, {"index": index, "label": f"{label_of(index, labels)} in a region of {int(mask.sum())} cells"}


def index_of(spec: int | str, count: int, labels: Sequence[str]) -> int:
    """The class that `spec` names: an index, "name:LABEL", or a label; TargetError with the nearest label if none does."""
    text = str(spec).strip()
    if re.fullmatch(r"-?\d+", text):
        if not 0 <= int(text) < count:
            raise TargetError(f"class {text} was given; the model has classes 0 to {count - 1}.", "Take one of these.")
        return int(text)
    name = text.removeprefix("name:").strip()
    for same in (lambda label: label == name, lambda label: label.lower() == name.lower()):
        found = [i for i, label in enumerate(labels) if same(label)]
        if len(found) > 1:
            raise TargetError(
                f"class {name!r} was given; {len(found)} classes are called that: {', '.join(map(str, found))}.",
                "Give the index of the one you mean.",
            )
        if found:
            return found[0]
    hint = (
        nearest(name, labels, "`sightline labels MODEL`")
        if labels
        else "Give an index, or name the classes with labels."
    )
    raise TargetError(f"class {name!r} was given; the model has no class of that name.", hint)


def label_of(index: int, labels: Sequence[str]) -> str:
    """The name of a class, "class 5" where it has none."""
    return labels[index] if index < len(labels) else f"class {index}"


def probabilities(outputs: Array, head: str, labels: Sequence[str]) -> np.ndarray | None:
    """Probabilities (n, classes) of `outputs`; None for a regression or a segmentation."""
    logits = to_numpy(outputs).astype(np.float64)
    if logits.ndim != 2:
        return None
    if logits.shape[1] == 1:
        if head != "sigmoid" and len(labels) != 2:
            return None
        return np.concatenate([1 - _sigmoid(logits), _sigmoid(logits)], axis=1)
    if head == "sigmoid":
        return _sigmoid(logits)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return np.asarray(0.5 * (1 + np.tanh(logits / 2)))


def as_target(weights: np.ndarray, outputs: Array) -> Target:
    """The target that weighs `outputs` (n, ...) by `weights` (k, n, ...)."""
    return Target(weighted, (like(np.ascontiguousarray(np.moveaxis(weights, 0, 1)), outputs),))
