"""visualize(): what a model would like to see."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, Literal

import numpy as np

from sightline.aims import aim_at
from sightline.arrays import Array, at_least_float32, to_numpy
from sightline.ascent import Climb, climb
from sightline.canvas import canvas
from sightline.describe import end_of_the_model, highest_classes
from sightline.errors import MethodError, ModelError, TargetError, nearest
from sightline.explain import refusals
from sightline.images import whole
from sightline.layers import find_layer
from sightline.load import Loaded, load, preprocessing_for
from sightline.method import AtLeast
from sightline.model import Target
from sightline.params import check_number
from sightline.preprocessing import Preprocessing
from sightline.references import resolved
from sightline.scores import NO_HEAD, head_of
from sightline.settled import Facts, Images
from sightline.targets import Picks, wanted
from sightline.visualization import Visualization

_STILL = (
    "The score never moved: the picture is the noise that it began as. A ReLU may never fire; take what is before it."
)
_SPACES = ("fourier", "pixels")
_TOLD = "the documentation of sightline.visualize for each option"


def visualize(
    model: Any,
    target: Any,
    *,
    layer: Any = None,
    steps: int = 256,
    size: int | tuple[int, int] | None = None,
    rate: float = 0.05,
    jitter: int = 16,
    variation: float = 0.0,
    l2: float = 0.0,
    space: Literal["fourier", "pixels"] = "fourier",
    decorrelate: bool = True,
    random_state: int = 0,
    preprocess: Preprocessing | str | None = None,
    labels: Any = None,
    weights: str | None = None,
    input: str | None = None,
    inputs: Mapping[str, Any] | None = None,
    output: str | int | None = None,
    device: str | None = None,
    trust: bool = False,
) -> Visualization | list[Visualization]:
    """A picture that raises a score of `model`, found by gradient ascent from grey noise; a list for a list of targets.

    `target`: a class, contrast, direction, `Region` or function as in `explain`, by its score before any softmax or
    sigmoid (Simonyan et al. 2013, section 2). With a `layer`: a channel of it, by the mean of its map (7 or "7"), a
    neuron, by its value ("7@3,4": channel 7 at row 3, column 4), or "all", the mean of the squares of its values
    (DeepDream). `steps` passes are made, forward and backward, of a picture of `size` pixels (default: what the model
    takes). Climbed are the numbers of the picture's spectrum, divided by the frequency, with decorrelated colours
    where there are three (Olah et al. 2017); space="pixels" and decorrelate=False climb the pixels themselves. Pixels
    stay between black and white by a sigmoid. Each step shifts the picture by up to `jitter` pixels at random; `rate`
    is the size of the first step. `variation` and `l2` weigh the penalties on the mean square of neighbours'
    differences and of the distance from grey, in units of the score. Adam (Kingma and Ba 2015). The other options are
    those of `explain`. Raises a SightlineError for every mistake.

    The picture is one of many, with whatever raises the score, real pictures or not; nothing in it says how likely the
    model is to meet it, or that the model uses it on real ones.

    >>> v = visualize("world:fish-scales/rings", "3 rings", steps=8)
    >>> v.pixels.shape, v.target["label"], bool(v.score > v.scores[0])
    ((96, 96, 3), '3 rings', True)
    """
    how = _settled(Climb(steps, rate, jitter, variation, l2, space, decorrelate, random_state))
    loaded = load(
        model,
        weights=weights,
        preprocess=preprocess,
        labels=labels,
        input=input,
        inputs=inputs,
        output=output,
        device=device,
        trust=trust,
    )
    targets = target if isinstance(target, list) else [target]
    if not targets:
        raise TargetError("an empty list of targets was given.", "Give at least one, such as a class.")
    found = [_one(loaded, preprocessing_for(loaded), spec, layer, size, how) for spec in targets]
    return found if isinstance(target, list) else found[0]


def _settled(how: Climb) -> Climb:
    """The options as numbers in their ranges; MethodError for one that is not."""
    if how.space not in _SPACES:
        given = f"space={how.space!r} was given; expected one of {', '.join(_SPACES)}."
        raise MethodError(given, nearest(str(how.space), _SPACES, _TOLD))
    least: dict[str, tuple[type, int]] = {"steps": (int, 1), "jitter": (int, 0), "random_state": (int, 0)}
    least |= {"rate": (float, 0), "variation": (float, 0), "l2": (float, 0)}
    checked = {k: check_number(k, getattr(how, k), kind, AtLeast(low), _TOLD) for k, (kind, low) in least.items()}
    return replace(how, decorrelate=bool(how.decorrelate), **checked)


def _one(loaded: Loaded, pre: Preprocessing, spec: Any, layer: Any, size: Any, how: Climb) -> Visualization:
    begun = time.perf_counter()
    blank = _blank(loaded, pre, size)
    with refusals(loaded.name, tuple(blank.shape)):
        aim, facts, place = _aimed(loaded, blank, spec, layer)
        paper = canvas(
            at_least_float32(blank),  # in half precision the steps of Adam would be 0 / 0
            pre,
            loaded.model.channel,
            fourier=how.space == "fourier",
            decorrelate=how.decorrelate,
        )
        x, scores = climb(loaded.model, aim, paper, how)
        last = loaded.model.run(x)
    values = np.moveaxis(to_numpy(x), loaded.model.channel, -1)[0]
    _check_finite(values, scores)
    head = head_of(last.head, loaded.head)
    top = highest_classes(to_numpy(last.outputs), head, loaded, 5)
    return Visualization(
        pixels=pre.undo(values),
        x=np.ascontiguousarray(values, np.float32),
        scores=scores,
        target=facts,
        top=top[0],
        model=loaded.name,
        layer=place,
        params={name: value for name, value in asdict(how).items() if name != "random_state"},
        random_state=how.random_state,
        head="" if head == NO_HEAD else head,
        preprocessing=str(pre),
        notes=(*loaded.notes, *_notes(scores, to_numpy(last.outputs), head, place)),
        seconds=time.perf_counter() - begun,
        versions=loaded.versions,
        hash_weights=loaded.hash_weights,
    )


def _notes(scores: np.ndarray, outputs: np.ndarray, head: str, place: str | None) -> list[str]:
    still = [] if np.ptp(scores) else [_STILL]
    return still if place else [*end_of_the_model(outputs, head), *still]


def _check_finite(values: np.ndarray, scores: np.ndarray) -> None:
    if not (np.isfinite(values).all() and np.isfinite(scores).all()):
        raise ModelError(
            "a model was given whose scores or gradients became NaN or infinite on the way to the picture.",
            "Give it in float32, or a smaller rate= (--rate).",
        )


def _blank(loaded: Loaded, pre: Preprocessing, size: Any) -> Array:
    """Grey, in the size of the picture that is to be found."""
    known = pre.size or (loaded.size or (224, 224))[:2]
    height, width = size if isinstance(size, tuple | list) and len(size) == 2 else (size, size) if size else known
    sides = [check_number("size", side, int, AtLeast(1), _TOLD) for side in (height, width)]
    grey = np.broadcast_to(pre.value_of(127.5), (1, *sides, pre.channels))
    return loaded.model.array(np.ascontiguousarray(np.moveaxis(grey, -1, loaded.model.channel)))


def _aimed(loaded: Loaded, blank: Array, spec: Any, layer: Any) -> tuple[Target, Facts, str | None]:
    """The target, its facts, and the name of its layer."""
    if layer is not None:
        chosen = find_layer(loaded.model.places(blank), layer)
        return *aim_at(spec, chosen, blank), chosen.name
    (asked,) = wanted(
        resolved([spec], loaded), loaded.labels, loaded.model.channel, Images(whole(blank, loaded.model.channel))
    )
    if isinstance(asked, Picks) and (len(asked.picks) > 1 or asked.picks[0].kind == "rank"):
        raise TargetError(
            f"target {spec!r} was given; a picture that is still to be found has no top class.",
            "Name a class, or a list of them.",
        )
    trace = loaded.model.run(blank)
    settled = asked.settle(trace.outputs, head_of(trace.head, loaded.head))
    return settled.target, settled.facts[0][0], None
