"""DeepLIFT: multipliers from the difference to a reference, which rides behind the images in the batch.

A gradient here is a multiplier, the same in both halves of the batch. What is linear keeps its derivative.
"""

from __future__ import annotations

from sightline.arrays import Array, namespace, relu
from sightline.model import Back, Bent, Op, Through
from sightline.rules.folding import folded, is_batch_norm
from sightline.rules.shares import axis_of_images, negative, refusal
from sightline.rules.weights import negative_part, positive_part

_FIX = "Use gradient-shap or integrated-gradients: they need no rule."
_NEAR = 1e-10  # a smaller difference is none: its quotient would be rounding


def rescale(op: Op) -> Bent:
    """Δy / Δx at what is not linear (Shrikumar et al. 2017, section 3.5.2)."""
    if op.kind in ("relu", "activation", "sigmoid"):
        return _rescaled(op)
    if op.kind == "pool" and op.params["largest"]:
        return _largest(op)
    if op.kind in ("mul", "matmul") and all(op.carries):
        return _product(op)
    linear = op.kind in ("conv", "linear", "add", "sub", "mul", "matmul", "concat", "pool", "output")
    if linear or is_batch_norm(op) or (op.kind == "div" and op.carries == (True, False)):
        return None
    return None if op.kind == "div" and len(op.carries) == 1 else refusal(op, "DeepLIFT", _FIX)


def reveal_cancel(op: Op) -> Bent:
    """As rescale, but with positive and negative contributions apart where weights come before (section 3.5.3)."""
    start = _weights_before(op) if op.kind in ("relu", "activation", "sigmoid") else None
    return rescale(op) if start is None else Through(_apart(op, start), start)


def _weights_before(op: Op) -> Op | None:
    before = op.before
    if before is None or axis_of_images(op.rows, op.args[0].shape) == 1:
        return None
    return folded(before) if is_batch_norm(before) else before if before.kind in ("conv", "linear") else None


def halves(a: Array, axis: int = 0) -> tuple[Array, Array]:
    """What belongs to the images, and what to their references, along the axis of both."""
    both = namespace(a).reshape(a, (*a.shape[:axis], 2, -1, *a.shape[axis + 1 :]))
    before = (slice(None),) * axis
    return both[(*before, 0, ...)], both[(*before, 1, ...)]


def _twice(a: Array, axis: int = 0) -> Array:
    return namespace(a).concat([a, a], axis=axis)


def _quotient(change: Array, of: Array, otherwise: Array) -> Array:
    xp = namespace(of)
    near = xp.abs(of) <= _NEAR
    return xp.where(near, otherwise, change / xp.where(near, xp.ones_like(of), of))


def _rescaled(op: Op) -> Back:
    (x,) = op.args
    axis = axis_of_images(op.rows, x.shape) or 0  # where that cannot be told, what is left unexplained tells it

    def back(y: Array, multiplier: Array) -> tuple[Array]:
        (x_image, x_reference), (y_image, y_reference) = halves(x, axis), halves(y, axis)
        slope, _ = halves(op.again(x)[1](namespace(y).ones_like(y))[0], axis)
        own = _quotient(y_image - y_reference, x_image - x_reference, slope)
        return (_twice(own * halves(multiplier, axis)[0], axis),)

    return back


def _largest(op: Op) -> Back:
    """A rise of the maximum belongs to the image's winner, a fall to the reference's; each is a part of its own Δx."""
    (x,) = op.args

    def back(y: Array, multiplier: Array) -> tuple[Array]:
        xp = namespace(y)
        y_image, y_reference = halves(y)
        change, m = y_image - y_reference, halves(multiplier)[0]
        moved = op.again(x)[1](xp.concat([relu(change) * m, negative(change) * m], axis=0))[0]
        (x_image, x_reference), (risen, fallen) = halves(x), halves(moved)
        return (_twice(_quotient(risen + fallen, x_image - x_reference, xp.zeros_like(risen))),)

    return back


def _product(op: Op) -> Back:
    """A product is linear in each factor: its multipliers are exact half-way between image and reference."""
    middle = [_twice(sum(halves(a)) / 2) for a in op.args]
    return lambda y, multiplier: op.again(*middle)[1](multiplier)


def _apart(op: Op, start: Op) -> Back:
    """The multipliers of the input of the weights `start`, whose output `op` bends."""
    (z,) = op.args

    def back(y: Array, multiplier: Array) -> tuple[Array]:
        (image, reference), (m, _) = halves(start.args[0]), halves(multiplier)
        up, down = (m * own for own in _up_and_down(op, z, start, image - reference))
        return (_twice(_by_sign(start, image - reference, up, down)),)

    return back


def _up_and_down(op: Op, z: Array, start: Op, change: Array) -> tuple[Array, Array]:
    """Δy⁺/Δz⁺ and Δy⁻/Δz⁻: each change of the output is the mean over both orders of adding Δz⁺ and Δz⁻."""
    (z_image, z_reference), ones = halves(z), namespace(z).ones_like(halves(z)[0])
    up, down = (part(start, False, change)[0] for part in (positive_part, negative_part))
    values = [op.again(z_reference + way)[0] for way in (0 * up, up, down, up + down)]
    slope = (op.again(z_image)[1](ones)[0] + op.again(z_reference)[1](ones)[0]) / 2
    none, risen, fallen, both = values
    return (
        _quotient((risen - none + both - fallen) / 2, up, slope),
        _quotient((fallen - none + both - risen) / 2, down, slope),
    )


def _by_sign(start: Op, change: Array, up: Array, down: Array) -> Array:
    """The linear rule (section 3.5.1): a weight hands on `up` where it makes the input's change a rise, else `down`."""
    xp, weight = namespace(change), start.params["weight"]
    _, pull_positive = start.again(change, weight=relu(weight), bias=None)
    _, pull_negative = start.again(change, weight=negative(weight), bias=None)
    rising, falling = (pull_positive(a)[0] + pull_negative(b)[0] for a, b in ((up, down), (down, up)))
    return xp.where(change > 0, rising, xp.where(change < 0, falling, (rising + falling) / 2))
