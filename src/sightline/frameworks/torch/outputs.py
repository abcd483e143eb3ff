"""What a module gave: the one tensor that is explained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_flatten, tree_unflatten

from sightline.errors import ModelError

_SCORES = ("logits", "out", "image_embeds", "pooler_output")  # what libraries call the scores, or the embedding


def choose(given: Any, output: str | int | None) -> torch.Tensor:
    """The output called `output`; where the caller named none the only one, or the one that libraries call the scores.

    ModelError if that is not one tensor.
    """
    output = of_itself(given) if output is None else output
    if output is not None:
        given = _named(given, output)
    elif isinstance(given, tuple | list) and len(given) == 1:
        given = given[0]
    if isinstance(given, torch.Tensor):
        return given
    raise ModelError(
        f"the model returned {_described(given)}; expected one tensor of scores.",
        "Say which output is explained, for example output='logits' for a dictionary or output=0 for a tuple.",
    )


def of_itself(given: Any) -> str | None:
    """The output that is explained where the caller names none: what torchvision and Hugging Face call the scores."""
    return next((name for name in _SCORES if isinstance(given, Mapping) and name in given), None)


def chosen(given: Any, output: str | int | None) -> tuple[str, ...]:
    """A note on the output that was chosen, where there are others."""
    name = of_itself(given) if output is None else None
    others = [repr(key) for key in given if key != name] if name else []
    return (f"explained is the output {name!r}, not {', '.join(others)}",) if others else ()


def _named(given: Any, output: str | int) -> Any:
    try:
        if isinstance(given, torch.Tensor):
            raise TypeError  # its first image is not its first output
        return given[output]
    except (KeyError, IndexError, TypeError):
        raise ModelError(
            f"output {output!r} was given; the model returned {_described(given)}.", "Name one of these."
        ) from None


def _described(given: Any) -> str:
    if isinstance(given, Mapping):
        return f"a dictionary with {', '.join(map(repr, given))}"
    if isinstance(given, tuple | list):
        return f"a {type(given).__name__} of {len(given)}"
    return "a tensor" if isinstance(given, torch.Tensor) else f"a {type(given).__name__}"


def first_tensor(given: Any) -> torch.Tensor | None:
    """The first tensor in whatever a module took or gave."""
    if isinstance(given, torch.Tensor):
        return given
    return next((leaf for leaf in tree_flatten(given)[0] if isinstance(leaf, torch.Tensor)), None)


def with_first_tensor(given: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """`given` with its first tensor changed."""
    if isinstance(given, torch.Tensor):
        return change(given)
    leaves, tree = tree_flatten(given)
    at = next((i for i, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor)), None)
    if at is None:
        return given
    return tree_unflatten([*leaves[:at], change(leaves[at]), *leaves[at + 1 :]], tree)


def by_image(outputs: torch.Tensor, images: int) -> torch.Tensor:
    """Outputs with an axis of images, which a model may have squeezed away, and one of scores. ModelError without either."""
    if outputs.ndim < 2 and outputs.numel() % images == 0:
        return outputs.reshape(images, -1)
    if outputs.shape[:1] == (images,):
        return outputs
    raise ModelError(
        f"the model gave scores of shape {tuple(outputs.shape)} for {images} images; expected one row for each image.",
        "Keep the axis of the images: squeeze(1) instead of squeeze().",
    )


def channel_axis(module: nn.Module, shape: tuple[int, ...], known: dict[tuple[int, ...], int]) -> int:
    """Axis of the channels in what a module gave for an image, counted from the end; `known` is that of earlier shapes.

    It is the last where that is as long as the weight of a linear layer or a normalisation; what has no weight has that
    of the latest of its shape.
    """
    if len(shape) < 3:
        return -1
    weight = getattr(module, "weight", None)
    if isinstance(weight, torch.Tensor) and weight.ndim:
        count = _channels(module, weight)
        known[shape] = -1 if count > 1 and shape[-1] == count != shape[-3] else -3
    return known.get(shape, -3)


def _channels(module: nn.Module, weight: torch.Tensor) -> int:
    """How many channels the weight of a linear layer or a normalisation gives; 0 for that of a convolution."""
    if weight.ndim <= 2:
        return len(weight)
    row = weight.numel() == weight.shape[-1] and not hasattr(module, "kernel_size")  # (1, 1, 1, channels)
    return weight.shape[-1] if row else 0


def usable(value: torch.Tensor) -> torch.Tensor:
    """A value that may take part in a graph, although it was made in inference mode."""
    return value.clone() if value.is_inference() else value
