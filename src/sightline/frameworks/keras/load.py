"""Keras models from a spec or a file, and weights from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras

from sightline.errors import ModelError, UntrustedError, nearest
from sightline.frameworks import Source
from sightline.frameworks.keras.ends import input_tensors
from sightline.labels import imagenet
from sightline.preprocessing import keras_applications

_ASSUMED = "class names: ImageNet's, assumed because the model has 1,000 outputs"
_FIX = (
    "Check the file. For weights alone name their architecture (--model keras:NAME --weights FILE); for layers of your own "
    "a function that makes the model (--model package.module:factory)."
)


def load(kind: str, name: str, *, weights: str | None = None, trust: bool = False) -> Source:
    """The model `name` of keras.applications (kind "keras") or of a .keras or .h5 file (kind "file").

    `weights` is a file, "random", or None for the published ones. ModelError where it cannot be had, UntrustedError
    where the file holds code.
    """
    return _application(name, weights) if kind == "keras" else _file(name, weights, trust)


def _application(name: str, weights: str | None) -> Source:
    known = {
        key.lower(): value for key, value in vars(keras.applications).items() if key[:1].isupper() and callable(value)
    }
    if name.lower() not in known:
        names = [value.__name__ for value in known.values()]
        hint = nearest(name, names, "keras.applications")
        raise ModelError(f"keras:{name} was given; keras.applications has no model of that name.", hint)
    make = known[name.lower()]
    if weights is None:
        model = _published(make)
    else:
        model = make(weights=None)
        if weights != "random":
            model = with_weights(model, weights)
    size = fixed_size(model)
    pre = keras_applications(make.__module__.rpartition(".")[2], size[0]) if weights is None and size else None
    return Source(model, f"keras:{make.__name__}", pre, imagenet(), size)


def _published(make: Any) -> keras.Model:
    try:
        return make(weights="imagenet")
    except Exception as error:
        raise ModelError(
            f"keras:{make.__name__} was given; its weights could not be downloaded ({error}).",
            "Connect to the network, or give a file you have with weights (--weights FILE, and --preprocess).",
        ) from None


def _file(path: str, weights: str | None, trust: bool) -> Source:
    if not Path(path).is_file():
        raise ModelError(f"the model {path!r} was given; there is no such file.", "Check the path.")
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=not trust)
    except Exception as error:
        said = str(error)
        if any(words in said.replace(path, "") for words in ("safe_mode", "arbitrary code")):
            raise UntrustedError(
                f"the model {path!r} was given; loading it would run code that is in the file.",
                "If you know who made it, allow that with trust=True (--trust).",
            ) from None
        raise ModelError(f"the model {path!r} was given; it cannot be read: {said}", _FIX) from None
    if weights is not None:
        model = with_weights(model, weights)
    shape = getattr(model, "output_shape", None)
    if shape != (None, 1000):
        return Source(model, Path(path).name, None, (), fixed_size(model))
    return Source(model, Path(path).name, None, imagenet(), fixed_size(model), (_ASSUMED,))


def with_weights(model: keras.Model, path: str, *, trust: bool = False) -> keras.Model:
    """`model` with the weights of an .h5 file; ModelError where they do not fit. Such a file holds no code."""
    if not Path(path).is_file():
        raise ModelError(f"weights {path!r} were given; there is no such file.", "Check the path.")
    try:
        model.load_weights(path)
    except Exception as error:
        raise ModelError(f"weights {path!r} were given; they do not fit: {error}", "Name their architecture.") from None
    return model


def fixed_size(model: keras.Model) -> tuple[int, int, int] | None:
    """Height, width and channels of a model's one image input, where they are fixed."""
    shapes = [tuple(t.shape) for t in input_tensors(model)]
    images = [shape[1:] for shape in shapes if len(shape) == 4 and all(shape[1:])]
    if len(images) != 1:
        return None
    (a, b, c) = images[0]
    return (b, c, a) if a <= 4 < c else (a, b, c)
