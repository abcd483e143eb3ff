"""Relevance through the operations of a transformer: AttnLRP (Achtibat et al. 2024), and the rules of Chefer et al. 2021."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from sightline.arrays import Array, like, namespace, transposed
from sightline.errors import ModelError
from sightline.model import Back, Bent, Op, Rule
from sightline.rules.folding import is_batch_norm
from sightline.rules.lrp import composite
from sightline.rules.shares import axis_of_images, proportional, ratio, unchanged
from sightline.rules.weights import OfWeights, alpha_beta_rule, epsilon_rule


@lru_cache
def attention_composite(weights: OfWeights, epsilon: float) -> Rule:
    """A rule for operations with weights, and AttnLRP's for the rest of a transformer."""
    others = composite(weights, weights, sums=epsilon_rule(epsilon), method="AttnLRP")

    def rule(op: Op) -> Bent:
        if op.kind == "softmax":
            return _softmax(op)
        if op.kind == "attention":
            return _attention(op, epsilon)
        if op.kind == "mul":  # proposition 3.2
            return unchanged(op, 1 / sum(op.carries))
        if op.kind == "matmul":  # proposition 3.3: half to each factor
            return proportional(op, epsilon, 1 / sum(op.carries))
        if op.params.get("layer"):
            return _layer_norm(op, epsilon)
        if op.kind in ("activation", "sigmoid") or (op.kind == "norm" and not is_batch_norm(op)):
            return unchanged(op)  # equation 9; proposition 3.4
        return others(op)

    return rule


@lru_cache
def positive_composite() -> Rule:
    """The rules of transformer attribution (Chefer et al. 2021, section 3.1), as its authors' code has them.

    Relevance starts as one at the class. The z⁺ rule without biases at linear layers; half to each factor of a product,
    in proportion to the values; a sum by `balanced`; softmax, normalisation and activations let it pass.
    """
    weights = alpha_beta_rule(1, 0, bias=False)
    others = composite(weights, weights, sums=balanced, method="transformer attribution")

    def rule(op: Op) -> Bent:
        if op.kind == "output":
            return None
        if op.kind == "matmul":
            return proportional(op, 0.0, 1 / sum(op.carries))
        if op.kind in ("softmax", "activation", "sigmoid") or (op.kind == "norm" and not is_batch_norm(op)):
            return unchanged(op)
        return others(op)

    return rule


def balanced(op: Op, *_: Array) -> Back:
    """A sum's relevance in proportion to the values, each addend's then scaled so that its total in the image is the
    share |total| of what both took, and the totals sum to what came (Chefer et al. 2021, equation 10)."""
    divided = proportional(op)

    def back(y: Array, relevance: Array) -> tuple[Array, ...]:
        parts = divided(y, relevance)
        if len(parts) == 1:
            return parts
        images = _images(op, y)
        whole, *totals = (_in_image(a, images) for a in (relevance, *parts))
        size = sum(namespace(y).abs(total) for total in totals)
        return tuple(a * ratio(namespace(y).abs(t) * whole, t * size) for a, t in zip(parts, totals))

    return back


def _images(op: Op, y: Array) -> int | None:
    """The axis of the images, counted from the end; None where there is one alone, to which everything belongs."""
    if op.rows == 1:
        return None
    axis = axis_of_images(op.rows, y.shape)
    if axis is None:
        raise ModelError(
            f"the model adds values of shape {tuple(y.shape)} (in {op.place or 'the model itself'!r}); transformer "
            f"attribution cannot tell the {op.rows} images apart.",
            "Explain one image at a time, or use generic-attention.",
        )
    return axis - int(y.ndim)


def _in_image(a: Array, images: int | None) -> Array:
    return namespace(a).sum(a, axis=tuple(i for i in range(-a.ndim, 0) if i != images), keepdims=True)


def softmax_relevance(x: Array, p: Array, relevance: Array, axis: int = -1) -> Array:
    """x_i (R_i − p_i Σ_j R_j) (equation 12); 0 where x is −∞, for a masked token."""
    xp = namespace(p)
    change = relevance - p * xp.sum(relevance, axis=axis, keepdims=True)
    return xp.where(xp.isfinite(x), xp.where(xp.isfinite(x), x, xp.zeros_like(x)) * change, xp.zeros_like(p))


def _softmax(op: Op) -> Back:
    (x,) = op.args
    return lambda p, relevance: (softmax_relevance(x, p, relevance, op.params["axis"]),)


def _attention(op: Op, epsilon: float) -> Back:
    """The product, the softmax and the product that it is made of, one rule after the other."""
    query, key, value = op.args
    xp = namespace(query)
    scale = op.params["scale"] or 1 / math.sqrt(query.shape[-1])

    def back(y: Array, relevance: Array) -> tuple[Array, Array, Array]:
        products = xp.matmul(query, transposed(key)) * scale
        scores = _masked(products, op.params["mask"], op.params["causal"])
        p = xp.exp(scores - xp.max(scores, axis=-1, keepdims=True))
        p = p / xp.sum(p, axis=-1, keepdims=True)
        shares = ratio(relevance, y, epsilon) / 2
        of_scores = softmax_relevance(scores, p, p * xp.matmul(shares, transposed(value)))
        inner = ratio(of_scores, products, epsilon) / 2 * scale
        return (
            query * xp.matmul(inner, key),
            key * xp.matmul(transposed(inner), query),
            value * xp.matmul(transposed(p), shares),
        )

    return back


def _layer_norm(op: Op, epsilon: float) -> Back:
    """The ε rule of what it is when its deviation is a constant (proposition 3.4): centring, weight and bias are linear."""
    (x,), weight = op.args, op.params["weight"]
    xp, axes = namespace(x), tuple(range(-len(op.params["layer"]), 0))
    centred = x - xp.mean(x, axis=axes, keepdims=True)
    deviation = xp.sqrt(xp.mean(centred * centred, axis=axes, keepdims=True) + op.params["epsilon"])

    def back(y: Array, relevance: Array) -> tuple[Array]:
        s = ratio(relevance, y, epsilon)
        s = s if weight is None else s * weight
        return (x * (s - xp.mean(s, axis=axes, keepdims=True)) / deviation,)

    return back


def _masked(scores: Array, mask: Array | None, causal: bool) -> Array:
    xp = namespace(scores)
    if causal:
        seen = np.tril(np.ones(tuple(scores.shape[-2:])))
        return xp.where(like(seen, scores) > 0, scores, xp.zeros_like(scores) - math.inf)
    if mask is None:
        return scores
    return xp.where(mask, scores, xp.zeros_like(scores) - math.inf) if "bool" in str(mask.dtype) else scores + mask
