"""Rectified gradient (RectGrad)."""

from __future__ import annotations

import math
from functools import cache

from sightline.arrays import Array, namespace
from sightline.errors import MethodError
from sightline.method import Size, method
from sightline.model import Back, Model, Op, Rule, Target
from sightline.rules.only import only


@method("gradient", "rule", family="backward rule", cost="1 FB", source="Kim et al. 2019, section 4, arXiv:1902.04893")
def rect_grad(model: Model, x: Array, target: Target, *, q: Size = 98.0) -> Array:
    """Image times a gradient of which every ReLU lets through only where activation times gradient is large.

    Shape (k, n, *image), signed. Large is above the `q`-th percentile of the layer, in each image by itself; 100 lets
    nothing through, and a percentile that is zero makes every ReLU that of guided backpropagation. Where many units are
    negative, a small `q` lets through even what a ReLU shuts. Without the authors' redistribution in max-pooling and
    without their zeroing of the border. ModelError where no ReLU is met. It keeps few units and drops the rest, so that
    an empty place of the map is no evidence that the model did not use it.
    """
    if q > 100:
        raise MethodError(f"q={q!r} was given; expected a percentile from 0 to 100.", "Give one such as 98.")
    return x * model.run(x, at=[""], target=target, rule=rectified(q)).grads[""]


@cache
def rectified(q: float) -> Rule:
    """The rule for that percentile; the same object each time, so that a compiled pass can be used again."""

    @only("relu")
    def rectified(op: Op) -> Back | None:
        return lambda y, grad_y: (_above(y, grad_y, q, op.params["limit"]),)

    return rectified


def _above(y: Array, grad_y: Array, q: float, limit: float) -> Array:
    xp, count = namespace(y), math.prod(y.shape[1:])
    importance = y * grad_y
    ordered = xp.sort(xp.reshape(importance, (-1, count)), axis=-1)
    tau = xp.reshape(ordered[:, round(q / 100 * (count - 1))], (-1, *[1] * (len(y.shape) - 1)))
    return xp.where((importance > tau) & (y < limit), grad_y, xp.zeros_like(grad_y))
