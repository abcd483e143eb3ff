"""What the methods of attention share: which tokens the score reads, and attention followed from them down to the cells."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sightline.arrays import Array, like, namespace
from sightline.layers import attention_layers
from sightline.methods._cam import over
from sightline.model import Layer, Model, Target, Trace


def differentiated_attention(model: Model, x: Array, target: Target) -> tuple[Trace, list[str], Layer]:
    """A pass with values and gradients at all attention and at the last tokens; the places of attention; these tokens."""
    attention, tokens = attention_layers(model.places(x))
    places = [layer.name for layer in attention]
    return model.run(x, at=[*places, tokens.name], target=target), places, tokens


def over_heads(a: Array) -> Array:
    """The mean over the heads: (..., tokens, tokens)."""
    return namespace(a).mean(a, axis=-3)


def with_skip(a: Array) -> Array:
    """Attention (..., tokens, tokens) with the skip beside it, which lets every token keep what it has."""
    return a + like(np.eye(a.shape[-1]), a)


def rows_to_one(a: Array) -> Array:
    """Each row divided by its sum."""
    return over(a, namespace(a).sum(a, axis=-1, keepdims=True))


def rolled_out(steps: Sequence[Array], gradient: Array, tokens: Layer) -> Array:
    """The product of all steps (k or 1, n, tokens, tokens) from the first block up, in the rows that the score reads.

    These are the tokens with a gradient (k, n, tokens, channels) at the last layer that gives them: that of the class,
    those of class and teacher, or all of a mean; where there are several, the mean of their rows. (k, n, rows, columns).
    """
    row = _read(gradient)
    for step in reversed(steps):
        row = namespace(row).matmul(row, step)
    return on_grid(row[..., 0, :], tokens)


def gathered(parts: Sequence[Array], gradient: Array, tokens: Layer) -> Array:
    """As `rolled_out`, each step being the identity and a part, less the identity itself.

    What a token is to itself stands in no cell of a class token's row; in a mean's it would hide the rest, and is never
    added: beside it small parts would be lost to rounding.
    """
    own = _read(gradient)
    more = namespace(own).zeros_like(own)
    for part in reversed(parts):
        more = more + namespace(own).matmul(own + more, part)
    return on_grid(more[..., 0, :], tokens)


def _read(gradient: Array) -> Array:
    """An even share (k, n, 1, tokens) for each token that the score reads."""
    xp = namespace(gradient)
    return rows_to_one(xp.astype(xp.any(gradient != 0, axis=-1), gradient.dtype))[..., None, :]


def on_grid(of_tokens: Array, tokens: Layer) -> Array:
    """Numbers (..., tokens) as (..., rows, columns); tokens that are no cells are dropped."""
    return tokens.spatial(of_tokens[..., None])[..., 0]
