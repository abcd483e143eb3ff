"""A spec or a framework's own model, made ready to be asked."""

from __future__ import annotations

import inspect
import sys
import warnings
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

from sightline import frameworks
from sightline.errors import InputError, ModelError, PreprocessingWarning
from sightline.frameworks import Source
from sightline.labels import read_labels
from sightline.model import Model
from sightline.preprocessing import Preprocessing
from sightline.scores import HEADS


@dataclass(frozen=True)
class Loaded:
    """A model behind the seam, with what is known of it."""

    model: Model
    name: str
    preprocessing: Preprocessing | None = None
    labels: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()  # what was assumed, for the answer
    size: tuple[int, int, int] | None = None  # height, width and channels of the input, where the model fixes them
    hash_weights: Callable[[], str] = field(default=lambda: "", repr=False)
    versions: Mapping[str, str] = field(default_factory=dict)
    head: str | None = None  # what the caller told of the model's scores, where it ends in them
    embed_text: Callable[[str], Any] | None = field(
        default=None, repr=False
    )  # a text's vector (d,), beside the images'


def load(
    model: Any,
    *,
    weights: str | None = None,
    preprocess: Preprocessing | str | None = None,
    labels: Sequence[str] | str | Path | None = None,
    input: str | None = None,
    inputs: Mapping[str, Any] | None = None,
    output: str | int | None = None,
    head: str | None = None,
    device: str | None = None,
    trust: bool = False,
) -> Loaded:
    """A model ready for `explain`: from a spec, a framework's own model, or a `Loaded` one.

    A spec is "torchvision:NAME", "timm:NAME", "hf:OWNER/NAME", "keras:NAME", "world:NAME/VARIANT", a .keras or .h5
    file, or "package.module:factory"; `weights` a file for its weights (which voids the preprocessing that the spec
    carries). `labels` are the classes' names, a file with one a line, or "imagenet". Of a model with several inputs,
    `input` names the one explained and `inputs` gives the others' values; of one with several outputs, `output` names
    the one explained. `head` is "sigmoid" for scores of classes that do not exclude each other, "none" for scores of no
    classes at all (quantities, an embedding), where the model ends in the plain scores, else taken for those of a
    softmax. `device` is where a PyTorch spec goes: by default CUDA, else MPS, else the CPU. `trust` allows files that run
    code. Raises ModelError, UntrustedError, InputError.

    >>> load("world:fish-scales/rings").labels[:2]
    ('1 ring', '2 rings')
    """
    ends = {"input": input, "inputs": inputs, "output": output}
    if isinstance(model, Loaded):
        _refuse("a loaded model", "Give it to sightline.load.", weights=weights, device=device, **ends)
        return _told_anew(model, preprocess, labels, head)
    if isinstance(model, str | Path):
        source = _from_spec(str(model), weights, trust)
        frameworks.place(source.model, device)
        mark: Callable[[], str] = partial(str, frameworks.fingerprint(source.model))  # now: it may be gone at saving
    elif frameworks.framework_of(model):
        source = Source(model, type(model).__name__, size=frameworks.fixed_size(model))
        mark = _mark_of(weakref.ref(model))
        _refuse("a model that is there already", "Do that to the model yourself.", weights=weights, device=device)
    else:
        _refuse("a model with an adapter of its own", "Do that in the adapter.", weights=weights, device=device, **ends)
        return _told_anew(_foreign(model), preprocess, labels, head)
    ends["output"] = source.output if output is None else output
    adapter = frameworks.adapt(source.model, **ends)
    found = Loaded(
        adapter,
        source.name,
        source.preprocessing,
        source.labels,
        source.notes,
        size=source.size,
        hash_weights=mark,
        versions=_versions(source.model),
        head=source.head,
        embed_text=source.embed_text,
    )
    return _told_anew(found, preprocess, labels, head)


def _told_anew(loaded: Loaded, preprocess: Any, labels: Any, head: str | None) -> Loaded:
    """`loaded` with the preprocessing, the names of classes and the head that the caller declares instead of its own."""
    if head not in (None, *HEADS):
        raise ModelError(f"head={head!r} was given.", f"Give one of {', '.join(HEADS)}, or leave it out.")
    pre = loaded.preprocessing if preprocess is None else _preprocessing(preprocess)
    loaded = replace(loaded, preprocessing=pre, head=loaded.head if head is None else head)
    return loaded if labels is None else replace(loaded, labels=read_labels(labels), notes=())


def in_precision(loaded: Loaded, precision: str | None) -> Loaded:
    """`loaded` with passes in that precision, None as the model is; ModelError where it cannot be had."""
    if precision is None:
        return loaded
    if not hasattr(loaded.model, "in_precision"):
        _refuse("a model with an adapter of its own", "Do that in the adapter.", precision=precision)
    return replace(loaded, model=loaded.model.in_precision(precision))  # type: ignore[attr-defined]


def with_compiled_passes(loaded: Loaded, wanted: bool) -> Loaded:
    """`loaded` with passes compiled by torch.compile, if that is `wanted`; ModelError for a model of another framework."""
    if not wanted:
        return loaded
    if not hasattr(loaded.model, "compiling"):
        raise ModelError(
            f"compile=True was given with {loaded.name}, which is no PyTorch model.",
            "Leave it out: Keras on TensorFlow and JAX is compiled already.",
        )
    model, note = loaded.model.compiling()
    return replace(loaded, model=model, notes=(*loaded.notes, note))


def _mark_of(alive: weakref.ref[Any]) -> Callable[[], str]:
    """The hash of a user's model, taken when it is asked for: hashing costs more than many an explanation."""
    return lambda: frameworks.fingerprint(alive()) if alive() is not None else ""


def _refuse(what: str, fix: str, **options: Any) -> None:
    for name, value in options.items():
        if value is not None:
            raise ModelError(f"{name}= was given with {what}; sightline does not change it.", fix)


def _foreign(model: Any) -> Loaded:
    """A model that brings its own adapter: anything with `run` and `places`."""
    if not (hasattr(model, "run") and hasattr(model, "places")):
        frameworks.adapt(model)  # says what was expected
    return Loaded(model, type(model).__name__)


def _from_spec(spec: str, weights: str | None, trust: bool) -> Source:
    kind, _, name = spec.partition(":")
    suffix = Path(spec).suffix.lower()
    if kind == "torchvision":
        source = frameworks.room("torch").load(name, weights=weights, trust=trust)
    elif kind in ("timm", "hf"):
        source = frameworks.room("torch").HUBS[kind](name, weights=weights, trust=trust)
    elif kind == "keras":
        source = frameworks.room("keras").load(kind, name, weights=weights, trust=trust)
    elif suffix in (".keras", ".h5"):
        source = frameworks.room("keras").load("file", spec, weights=weights, trust=trust)
    elif kind == "world":
        _refuse("a world, which has its own", "Leave it out.", weights=weights)
        source = _world(name)
    elif suffix in (".safetensors", ".pth", ".pt"):
        raise ModelError(
            f"{spec} was given as the model; it holds weights without an architecture.",
            f"Name the architecture: --model torchvision:NAME --weights {spec}",
        )
    elif name and all(part.isidentifier() for part in kind.split(".")):
        source = _from_factory(kind, name, weights, trust)
    else:
        raise ModelError(
            f"{spec!r} was given as the model; it is no spec and no file with a model.",
            "Write torchvision:NAME, timm:NAME, hf:OWNER/NAME, keras:NAME, world:NAME/VARIANT, package.module:factory, "
            "or a .keras or .h5 file.",
        )
    return source  # type: ignore[no-any-return]


def _from_factory(module: str, name: str, weights: str | None, trust: bool) -> Source:
    try:
        factory = getattr(import_module(module), name)
        model = factory() if callable(factory) and frameworks.framework_of(factory) is None else factory
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
        raise ModelError(
            f"{module}:{name} was given; it failed with {said}", "Check both names. Does it run on its own?"
        ) from error
    if frameworks.framework_of(model) is None:
        raise ModelError(f"{module}:{name} was given; it made a {type(model).__name__}.", "Let it return a model.")
    if weights is not None:
        frameworks.room(str(frameworks.framework_of(model))).with_weights(model, weights, trust=trust)
    return Source(model, f"{module}:{name}", size=frameworks.fixed_size(model))


def _world(name: str) -> Source:
    from sightline.worlds import find_world, world_net

    world = find_world(name)
    pre = Preprocessing.parse(world.preprocess)
    return Source(world_net(name), f"world:{name}", pre, world.labels, (world.size, world.size, 3))


def _preprocessing(given: Any) -> Preprocessing:
    if not isinstance(given, Preprocessing | str):
        raise InputError(
            f"preprocess= was given a {type(given).__name__}; expected text or a sightline.Preprocessing.",
            "Write it like preprocess='resize=256,crop=224,mean=0.5,std=0.5'.",
        )
    return Preprocessing.parse(given) if isinstance(given, str) else given


def preprocessing_for(loaded: Loaded) -> Preprocessing:
    """What turns pictures into the model's input; where none is declared, a stated guess and a PreprocessingWarning."""
    if loaded.preprocessing is not None:
        return loaded.preprocessing
    height, width, channels = loaded.size or (224, 224, 3)
    scale = 1.0 if getattr(loaded.model, "rescales", False) else 1 / 255
    guess = Preprocessing(resize=max(height, width), crop=(height, width), scale=scale, channels=channels)
    warnings.warn(
        f"{loaded.name} says nothing of its preprocessing, so {guess} was assumed: the answer may be wrong. "
        "Declare it with preprocess= (--preprocess).",
        PreprocessingWarning,
        stacklevel=3,
    )
    return guess


@cache
def _version(package: str) -> str:
    return metadata.version(package)


def _versions(model: Any) -> Mapping[str, str]:
    own = {name: _version(name) for name in ("sightline", "numpy")}
    return own | {"python": ".".join(map(str, sys.version_info[:3]))} | dict(frameworks.versions(model))


LOADING = tuple(inspect.signature(load).parameters)[1:]  # the names of its options, for what passes them on
