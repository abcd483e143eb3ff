"""check(): whether the maps of a method depend on what the model has learnt; an alarm, and never a ranking."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np

from sightline.alike import SIMILARITIES, alike
from sightline.arrays import Array
from sightline.asking import Request, answer_again, passes_of, wanted_of
from sightline.describe import maps_of, told
from sightline.errors import MethodError, nearest
from sightline.explain import refusals, requests_for
from sightline.inputs import Given, is_input, take
from sightline.load import LOADING, Loaded, load, preprocessing_for
from sightline.memory import as_bytes, fitted
from sightline.method import AtLeast, find
from sightline.model import Model, Target
from sightline.params import check_number, settle_params
from sightline.preprocessing import Preprocessing
from sightline.question import Question
from sightline.randomised import Layers, Randomised, Stage, drawn, own_weights, parameters_of, stages_of
from sightline.references import resolved
from sightline.sanity import SanityCheck, entropy_of, rise
from sightline.settled import Facts

Mode = Literal["cascading", "independent"]
_BUFFERS = "running means and variances are no parameters, and stay as they are"


@dataclass(frozen=True)
class Asked:
    """One target, or several that one pass answers: the images and the target of each pass, and what was found there."""

    parts: Sequence[tuple[Array, Target]]
    facts: Sequence[Sequence[Facts]]  # of each target, for each image


@dataclass(frozen=True)
class Mapped:
    """The maps (n, h, w) of one method and target."""

    request: Request
    target: Sequence[Facts]
    layer: str | None
    maps: np.ndarray


def check(
    model: Any,
    images: Any,
    *,
    method: str | Sequence[str] = "grad-cam",
    target: Any = "top",
    mode: Mode = "cascading",
    stages: int = 10,
    copies: int = 1,
    copy_noise: float = 0.1,
    layer: Any = None,
    reduce: str | None = None,
    smooth: float = 0.0,
    memory: str | int | None = None,
    random_state: int = 0,
    **options: Any,
) -> list[SanityCheck]:
    """How alike maps stay when the model's weights are made random: a SanityCheck for each method and target.

    Layers become random from the top down in `stages` about equal parts, those above staying random ("cascading"), or
    each part alone ("independent"); all parameters, and never on the model itself (Adebayo et al. 2018,
    arXiv:1810.03292). New weights are normal draws with the mean and the standard deviation of each parameter, so that
    activations keep about their scale; running means and variances are no parameters and stay. With `copies` above 1,
    each map is the mean over so many copies of the image with Gaussian noise, of `copy_noise` of its range, which takes
    the maps' own noise out of the comparison; `entropy` is the efficient form (both: Hedström et al. 2024,
    arXiv:2401.06465). What is explained is always what was explained of the model itself. Everything else is as in
    `explain`, and `load`. Raises a SightlineError for every mistake.

    >>> from sightline.worlds import find_world
    >>> scale = find_world("fish-scales").draw(7, size=96)
    >>> found = check("world:fish-scales/rings", scale.image, method="edges", stages=2)
    >>> found[0].alarm, found[0].counts
    (True, (8, 15))
    """
    start = time.perf_counter()
    loaded = load(model, **{name: options.pop(name) for name in LOADING if name in options})
    options["random_state"] = check_number("random_state", random_state, int, AtLeast(0))
    _check_mode(mode)
    stages, copies = (check_number(n, v, int, AtLeast(1)) for n, v in (("stages", stages), ("copies", copies)))
    copy_noise = check_number("copy_noise", copy_noise, float, AtLeast(0))
    requests = [
        _smoothed(request, copies, copy_noise)
        for request in requests_for(method, options, target, layer, reduce, smooth)
    ]
    preprocessing = loaded.preprocessing if is_input(images) else preprocessing_for(loaded)
    given = take(images, loaded.model, preprocessing)
    with refusals(loaded.name, tuple(given.x.shape)):
        targets = resolved(requests[0].targets, loaded)
        requests = [replace(request, targets=targets) for request in requests]
        loaded = replace(loaded, model=fitted(loaded.model, given.x, as_bytes(memory))[0])
        layers = parameters_of(loaded.model, given.x)
        asked, size = _questions(requests, loaded, given), given.geometries[0].crop[2:]
        follow = Follow(requests, asked, loaded, preprocessing, size)
        found = _followed(follow, given.x, layers, mode, stages, options["random_state"])
    same: Facts = {
        "mode": mode,
        "depth": sum(bool(places) for _, places in layers),
        "model": loaded.name,
        "images": tuple(picture.name for picture in given.pictures),
        "random_state": options["random_state"],
        "notes": (*loaded.notes, _BUFFERS, *_unreached(layers)),
        "seconds": (time.perf_counter() - start) / len(found),
    }
    return [SanityCheck(**same, **each) for each in found]


def _unreached(layers: Layers) -> list[str]:
    """A note on weights that are where no place reaches."""
    names = [name for name, places in layers if not places]
    return [f"the weights of {', '.join(names)} could not be replaced, and stay as they are"] if names else []


def _check_mode(mode: str) -> None:
    if mode not in get_args(Mode):
        raise MethodError(
            f"mode={mode!r} was given; expected one of {', '.join(get_args(Mode))}.",
            nearest(str(mode), get_args(Mode), "the list before"),
        )


def _smoothed(request: Request, copies: int, noise: float) -> Request:
    """The method averaged over noisy copies of the image, which is SmoothGrad of it."""
    if copies == 1:
        return request
    if "of" in request.method.params:
        raise MethodError(
            f"copies={copies} was given with {request.method.name}, which wraps a method itself.",
            "Leave copies out, or name the method that it wraps.",
        )
    own = {"of": request.method.name, "samples": copies, "noise": noise, "random_state": request.random_state}
    clash = {"samples", "noise"} & set(request.params)
    if clash:
        raise MethodError(
            f"copies={copies} was given with {request.method.name}, which draws samples itself.", "Leave copies out."
        )
    smoothgrad = find("smoothgrad")
    return replace(request, method=smoothgrad, params=settle_params(smoothgrad, {**request.params, **own}))


def _questions(requests: Sequence[Request], loaded: Loaded, given: Given) -> list[Asked]:
    """What the model itself answers to these images is what is explained at every stage."""
    passes = [
        [Question(loaded.model, given.x if r is None else given.x[r, ...], group, told=loaded.head) for group in groups]
        for r in passes_of(loaded.model, given.x)
        for groups in [wanted_of(requests[0], loaded, given.geometries, r)]
    ]
    found = []
    for asked in zip(*passes):
        facts = [[f for part in parts for f in part] for parts in zip(*(q.found() for q in asked))]
        found.append(Asked([(q.x, q.target()) for q in asked], facts))
    return found


@dataclass(frozen=True)
class Follow:
    """What is done again at every stage."""

    requests: Sequence[Request]
    asked: Sequence[Asked]
    loaded: Loaded
    preprocessing: Preprocessing | None
    size: tuple[int, int]

    def maps(self, model: Model) -> list[Mapped]:
        """The maps of every method and target, with `model` in the place of the loaded one."""
        loaded = replace(self.loaded, model=model)
        return [mapped for r in self.requests for asked in self.asked for mapped in self._of(r, asked, loaded)]

    def _of(self, request: Request, asked: Asked, loaded: Loaded) -> list[Mapped]:
        found = [answer_again(request, loaded, self.preprocessing, x, target) for x, target in asked.parts]
        return [
            Mapped(
                request,
                facts,
                found[0].layer,
                np.concatenate([maps_of(request, part, self.size, k) for part in found]).astype(np.float64),
            )
            for k, facts in enumerate(asked.facts)
        ]


def _followed(follow: Follow, x: Array, layers: Layers, mode: Mode, stages: int, random_state: int) -> list[Facts]:
    """Of each method and target, what changes from stage to stage."""
    model = follow.loaded.model
    own = own_weights(model, x, layers)
    new, each = drawn(own, random_state), stages_of(layers, stages, alone=mode == "independent")
    first = last = follow.maps(model)
    compared: list[dict[str, list[np.ndarray]]] = [{name: [] for name in SIMILARITIES} for _ in first]
    for stage in each:
        weights = {place: new[place] if place in stage.places else value for place, value in own.items()}
        last = follow.maps(Randomised(model, weights, model.chunk))
        for before, after, into in zip(first, last, compared):
            for name in SIMILARITIES:
                into[name].append(alike(name, before.maps, after.maps))
    if mode == "independent":
        last = follow.maps(Randomised(model, new, model.chunk))
    found = zip(first, last, compared)
    return [_told(before, after, similarities) | _where(each) for before, after, similarities in found]


def _where(stages: Sequence[Stage]) -> Facts:
    return {"layers": tuple(stage.name for stage in stages), "counts": tuple(stage.count for stage in stages)}


def _told(before: Mapped, random: Mapped, similarities: Mapping[str, Sequence[np.ndarray]]) -> Facts:
    """`random`: the maps of a model that is random throughout."""
    params = {name: told(value) for name, value in before.request.params.items() if name != "random_state"}
    return {
        "method": before.request.method.name,
        "params": params,
        "layer": before.layer,
        "target": list(before.target),
        "similarities": {name: np.stack(values) for name, values in similarities.items()},
        "entropy": rise(entropy_of(before.maps), entropy_of(random.maps)),
    }
