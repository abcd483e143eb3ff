"""LeGrad."""

from __future__ import annotations

from collections.abc import Sequence

from sightline.arrays import Array, namespace, relu
from sightline.errors import ModelError
from sightline.layers import attention_layers
from sightline.method import method
from sightline.methods._attention import on_grid
from sightline.model import Layer, Model, Target
from sightline.tail import Tail


@method(
    "gradient",
    "attention",
    family="attention",
    cost="3 F + 1 FB + a tail a block",
    source="Bousselham et al. 2024, section 3, arXiv:2404.03214",
)
def legrad(model: Model, x: Array, target: Target) -> Array:
    """How much more attention to each cell would raise the score, by the mean of each block's tokens, over all blocks.

    Shape (k, n, rows, columns), not negative, in units of score: the score of a block is that of the whole model if each
    token after the last block were the mean of this block's, as in the authors' code, however the model itself reads its
    tokens; the positive part of its gradient at the block's own attention is the mean over heads and over the tokens that
    attend, and the blocks are summed. ModelError for a model without a layer for each block. Attention that is already
    there is not weighed: a cell may be marked that no token looks at.
    """
    layers = model.places(x)
    attention, tokens = attention_layers(layers)
    blocks = [_block(layer, attention, layers) for layer in attention]
    names = [block.name for block in blocks]
    trace = model.run(x, at=[*names, *(f":{name}" for name in names[1:])])
    pulls = _pulls(Tail(model, blocks[-1], x), [trace.values[name] for name in names], target)
    apart = {f":{name}": trace.values[f":{name}"] for name in names[1:]}  # so that no block's score tells on another's
    places = [layer.name for layer in attention]
    grads = model.run(x, at=places, edit=apart, target=Target(_pulled, pulls, tuple(names))).grads
    xp = namespace(x)
    return on_grid(sum(xp.mean(relu(grads[place]), axis=(-3, -2)) for place in places), tokens)


def _block(own: Layer, attention: Sequence[Layer], layers: Sequence[Layer]) -> Layer:
    """The largest layer that holds this attention and no other, and gives its tokens."""
    holding = [layer for layer in layers if layer.shape[:1] == own.shape[-1:] and own.name.startswith(f"{layer.name}.")]
    alone = [layer for layer in holding if sum(other.name.startswith(f"{layer.name}.") for other in attention) == 1]
    if not alone:
        raise ModelError(
            f"a model was given in which no layer around {own.name!r} is a block of its own.",
            "Use generic-attention, which needs no blocks.",
        )
    return min(alone, key=lambda layer: len(layer.name))


def _pulls(tail: Tail, values: Sequence[Array], target: Target) -> tuple[Array, ...]:
    """For each of the tokens (n, tokens, channels) the gradient (n, k, 1, channels) at them of the scores of their mean."""
    xp, count = namespace(values[0]), values[0].shape[0]
    means = [xp.broadcast_to(xp.mean(tokens, axis=1, keepdims=True), tuple(tokens.shape)) for tokens in values]
    found = tail.run(xp.concat(means, axis=0), at=[""], target=target.repeat(len(values))).grads[""]
    found = xp.mean(
        xp.moveaxis(found, 0, 1), axis=2, keepdims=True
    )  # each token is the mean's part, and stands for all
    return tuple(found[i * count : (i + 1) * count, ...] for i in range(len(values)))


def _pulled(values: Sequence[Array], *pulls: Array) -> Array:
    """A score (k, n) whose gradient at each of the values is the one that is pulled with."""
    xp = namespace(values[0])
    parts = [xp.sum(value[:, None, ...] * pull, axis=(-2, -1)) for value, pull in zip(values, pulls)]
    return xp.moveaxis(sum(parts[1:], parts[0]), 0, 1)
