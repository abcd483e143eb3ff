"""Keras 3 models, on TensorFlow, JAX or PyTorch."""

from sightline.frameworks.keras.model import adapt

__all__ = ["adapt"]
