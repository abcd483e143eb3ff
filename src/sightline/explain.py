"""explain(): validate once, run, describe."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from sightline import methods as _methods  # noqa: F401  enters every method
from sightline.asking import Request, ask
from sightline.auto import choose
from sightline.describe import describe
from sightline.errors import MethodError, ModelError, SightlineError, nearest, told_by
from sightline.explanation import Explanation
from sightline.images import MAX_PIXELS
from sightline.inputs import Given, is_input, take
from sightline.load import Loaded, in_precision, load, preprocessing_for, with_compiled_passes
from sightline.memory import as_bytes, fitted, out_of_memory
from sightline.method import AtLeast, Method
from sightline.params import check_number, settle_params
from sightline.preprocessing import Preprocessing
from sightline.reduce import check_reduction
from sightline.references import resolved


def explain(
    model: Any,
    images: Any,
    *,
    method: str | Sequence[str] = "grad-cam",
    target: Any = "top",
    layer: Any = None,
    preprocess: Preprocessing | str | None = None,
    labels: Any = None,
    weights: str | None = None,
    input: str | None = None,
    inputs: Mapping[str, Any] | None = None,
    output: str | int | None = None,
    head: str | None = None,
    device: str | None = None,
    trust: bool = False,
    max_pixels: int = MAX_PIXELS,
    memory: str | int | None = None,
    precision: str | None = None,
    compile: bool = False,
    random_state: int = 0,
    reduce: str | None = None,
    smooth: float = 0.0,
    top: int = 5,
    **params: Any,
) -> Explanation | list[Explanation]:
    """What `model` looks at in `images`: one Explanation, or a flat list of them, one a method and target.

    `model`: a torch nn.Module, a Keras model, a spec (see `sightline.load`) or a loaded model. `images`: one or several
    of a file, a PIL picture, a uint8 array (h, w, c); or a float batch, taken as the model's input already. `method`:
    one or several names of `sightline.methods()`, or "auto", whose answer says what it took and why. `target`: a class
    index or name, "top", "top-3", "a - b", "up" or "down" (regression), a `Region` (segmentation), a `Box` (detection),
    a `Similar` (embedding), a function of one image's scores, or a list of these; it is the score before any softmax or
    sigmoid. `layer`: for a method that needs one, default the last with a grid; any other method then explains the
    layer's output instead of the image.
    `reduce`: how channels become one number a pixel ("max-abs", "mean-abs", "sum", "sum-abs", "l2", "max"; each
    method has its own default; a map without channels, such as a CAM's, has nothing to reduce). `smooth`: standard
    deviation in pixels of a Gaussian over the map. `memory`: how much the layers' values of a pass may take, "2GB";
    without it, half of what is free. `precision`: "bfloat16" or "float16" (the latter on CUDA) for passes of a PyTorch
    model in float32 that are quicker and less exact; default: as the model is. `compile`: passes of a PyTorch model from
    the image to the scores and back go through torch.compile, which takes a minute or more and pays in long runs; kept
    for the next call. `top`: how many of the highest classes
    the answer lists. Other options go to the methods that have them. Raises a SightlineError for every mistake.

    >>> from sightline.worlds import find_world
    >>> scale = find_world("fish-scales").draw(7, size=96)
    >>> e = explain("world:fish-scales/rings", scale.image, method="integrated-gradients", steps=10)
    >>> scale.age, e.target[0]["label"], e.map.shape
    (8, '8 rings', (1, 96, 96))
    """
    loaded = load(
        model,
        weights=weights,
        preprocess=preprocess,
        labels=labels,
        input=input,
        inputs=inputs,
        output=output,
        head=head,
        device=device,
        trust=trust,
    )
    loaded = with_compiled_passes(in_precision(loaded, precision), compile)
    check_reduction(reduce)
    smooth, top = check_number("smooth", smooth, float, AtLeast(0)), check_number("top", top, int, AtLeast(0))
    params["random_state"] = check_number("random_state", random_state, int, AtLeast(0))
    limit = as_bytes(memory)
    requests = requests_for(method, params, target, layer, reduce, smooth)
    preprocessing = loaded.preprocessing if is_input(images) else preprocessing_for(loaded)
    given = take(images, loaded.model, preprocessing, max_pixels)
    answers = _answers(requests, loaded, preprocessing, given, limit, top)
    many = not isinstance(method, str) or isinstance(target, list | tuple) or len(answers) > 1
    return answers if many else answers[0]


def _answers(
    requests: Sequence[Request],
    loaded: Loaded,
    preprocessing: Preprocessing | None,
    given: Given,
    limit: int | None,
    top: int,
) -> list[Explanation]:
    with refusals(loaded.name, tuple(given.x.shape)):
        targets = resolved(requests[0].targets, loaded)
        requests = [replace(request, targets=targets) for request in requests]
        fitting, share = fitted(loaded.model, given.x, limit)
        found = ask(requests, replace(loaded, model=fitting), preprocessing, given.x, given.geometries, share)
    return [
        answer
        for request, (each, seconds) in zip(requests, found)
        for answer in describe(request, each, loaded, preprocessing, given, top, seconds)
    ]


def requests_for(
    names: str | Sequence[str], params: Mapping[str, Any], target: Any, layer: Any, reduce: str | None, smooth: float
) -> list[Request]:
    """A request for each method, each with those of the options that it has; an option that none has is a mistake."""
    listed = names if isinstance(names, Iterable) and not isinstance(names, str) else [names]
    chosen = [choose(name, params) for name in listed]
    if not chosen:
        raise MethodError("an empty list of methods was given.", "Name at least one of `sightline methods`.")
    targets = list(target) if isinstance(target, list | tuple) else [target]
    taken: set[str] = {"random_state"}
    requests = []
    for method, options, why in chosen:
        own = {name: value for name, value in options.items() if method.takes(name, options)}
        taken |= set(own)
        settled = settle_params(method, own)
        requests.append(Request(method, settled, targets, layer, reduce, smooth, params["random_state"], why))
    _check_known([method for method, _, _ in chosen], params, taken)
    return requests


def _check_known(methods: Sequence[Method], params: Mapping[str, Any], taken: set[str]) -> None:
    """Raise MethodError for an option that none of the methods has."""
    known = sorted({option for m in methods for option in {**m.params, **m.base(params).params}})
    for name in params:
        if name not in taken:
            asked = ", ".join(m.name for m in methods)
            hint = nearest(name, known, f"`sightline methods`: {asked} takes {', '.join(known) or 'no options'}")
            raise MethodError(f"option {name!r} was given; {asked} does not have it.", hint)


@contextmanager
def refusals(name: str, shape: tuple[int, ...]) -> Iterator[None]:
    """What a framework throws, as one of our errors; the framework's own stays its cause."""
    try:
        yield
    except SightlineError:
        raise
    except Exception as error:
        if out_of_memory(error):
            raise ModelError(
                f"{name} ran out of memory on an input of shape {shape}.",
                "Give smaller images, or another device= (--device).",
            ) from error
        raise ModelError(
            f"{name} failed on an input of shape {shape}: {told_by(error)}",
            "Check the input's size and channels (preprocess=, --preprocess) against what the model was trained on.",
        ) from error
