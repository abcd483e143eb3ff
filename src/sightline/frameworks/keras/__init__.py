"""Keras 3 models, on TensorFlow, JAX or PyTorch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib import metadata

import keras

from sightline.errors import ModelError
from sightline.frameworks.keras.load import fixed_size, load, with_weights
from sightline.frameworks.keras.model import adapt

__all__ = ["adapt", "fingerprint", "fixed_size", "load", "place", "versions", "with_weights"]


def fingerprint(model: keras.Model) -> str:
    """A hash of every variable."""
    found = hashlib.blake2b(digest_size=8)
    for variable in model.variables:
        found.update(variable.path.encode())
        found.update(keras.ops.convert_to_numpy(variable).tobytes())  # bfloat16 has no buffer
    return found.hexdigest()


def place(model: keras.Model, device: str | None) -> None:
    """Keras places a model itself."""
    if device is None:
        return
    raise ModelError(
        f"device {device!r} was given with a Keras model; its backend chooses the device.",
        "Set what the backend sees, for example CUDA_VISIBLE_DEVICES, before the start.",
    )


def versions() -> Mapping[str, str]:
    """Keras' version, and its backend's."""
    backend = keras.backend.backend()
    return {"keras": keras.__version__, backend: metadata.version(backend)}
