"""One adapter and loader for each framework; a framework is imported here only, and only when it appears."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from sightline.errors import ModelError
from sightline.frameworks.silence import without_log_lines
from sightline.model import Model
from sightline.preprocessing import Preprocessing


@dataclass(frozen=True)
class Source:
    """What a framework's loader found: its own model object, and what is known of it."""

    model: Any
    name: str
    preprocessing: Preprocessing | None = None
    labels: tuple[str, ...] = ()
    size: tuple[int, int, int] | None = None  # height, width, channels, where the model fixes them
    notes: tuple[str, ...] = ()  # what was assumed, for the answer
    output: str | None = None  # which output is explained, where the library gives several
    head: str | None = None  # "none" where the outputs are no scores of classes
    embed_text: Callable[[str], Any] | None = None  # of a model of image and text: a text's vector


def framework_of(model: Any) -> str | None:
    """The framework whose model `model` is; looked for only among those that are loaded."""
    keras, torch = sys.modules.get("keras"), sys.modules.get("torch")
    if keras is not None and isinstance(model, keras.layers.Layer):  # under the torch backend also an nn.Module
        return "keras"
    if torch is not None and isinstance(model, torch.nn.Module):
        return "torch"
    return None


def room(framework: str) -> Any:
    """The subpackage of a framework; ModelError with the extra to install where the framework is missing."""
    name = f"sightline.frameworks.{framework}"
    try:
        with nullcontext() if name in sys.modules or framework != "keras" else without_log_lines():
            return import_module(name)
    except ModuleNotFoundError as error:
        if error.name and error.name.startswith("sightline"):
            raise
        raise ModelError(
            f"a {framework} model was given; {error.name} is not installed.", f"pip install 'sightline[{framework}]'"
        ) from None


def adapt(model: Any, **options: Any) -> Model:
    """The adapter of a framework's own model; ModelError if no framework that is loaded calls it its own."""
    framework = framework_of(model)
    if framework is None:
        raise ModelError(
            f"a {type(model).__module__}.{type(model).__name__} was given as the model.",
            "Give a torch nn.Module, a Keras model, or a spec such as torchvision:resnet50.",
        )
    adapter: Model = room(framework).adapt(model, **options)
    return adapter


def fingerprint(model: Any) -> str:
    """A hash of every weight of a framework's own model, 16 hexadecimal digits."""
    framework = framework_of(model)
    return str(room(framework).fingerprint(model)) if framework else ""


def fixed_size(model: Any) -> tuple[int, int, int] | None:
    """Height, width and channels that a framework's own model asks for, where it says so."""
    framework = framework_of(model)
    size: tuple[int, int, int] | None = room(framework).fixed_size(model) if framework else None
    return size


def place(model: Any, device: str | None) -> None:
    """Move a model that sightline loaded to a device; without one, to the quickest that its framework can use."""
    room(str(framework_of(model))).place(model, device)


def versions(model: Any) -> Mapping[str, str]:
    """The versions of what computes with a framework's own model."""
    framework = framework_of(model)
    found: Mapping[str, str] = room(framework).versions() if framework else {}
    return found
