"""Rules of layer-wise relevance propagation for one operation with weights: a convolution or a linear layer.

z_ij is what input i brings to output j: its value times the weight. Rules differ in which of the z_ij they count.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from sightline.arrays import Array, namespace, relu
from sightline.errors import ModelError
from sightline.model import Back, Op
from sightline.rules.shares import Pull, negative, proportional, ratio, unchanged

OfWeights = Callable[..., Back]  # (op, *arrays) -> its backward pass


@lru_cache
def epsilon_rule(epsilon: float) -> OfWeights:
    """Σ_j z_ij / (z_j + ε sign z_j) R_j (Bach et al. 2015, equation 58), z_j with the bias."""
    return lambda op, *_: proportional(op, epsilon)


@lru_cache
def gamma_rule(gamma: float) -> OfWeights:
    """The z_ij of the output's own sign count 1 + γ times (Montavon et al. 2019, section 10.2.1; Andéol et al. 2021)."""

    def rule(op: Op, *_: Array) -> Back:
        def back(y: Array, relevance: Array) -> tuple[Array]:
            (z, pull), (up, pull_up), (down, pull_down) = _whole(op), positive_part(op), negative_part(op)
            xp = namespace(z)
            rising = ratio(xp.where(z >= 0, relevance, xp.zeros_like(z)), z + gamma * up)
            falling = ratio(xp.where(z < 0, relevance, xp.zeros_like(z)), z + gamma * down)
            return (pull(rising + falling) + gamma * (pull_up(rising) + pull_down(falling)),)

        return back

    return rule


@lru_cache
def alpha_beta_rule(alpha: float, beta: float, bias: bool = True) -> OfWeights:
    """α times the positive z_ij's shares less β times the negative ones' (Bach et al. 2015, equation 60)."""

    def rule(op: Op, *_: Array) -> Back:
        def back(y: Array, relevance: Array) -> tuple[Array]:
            up, pull = positive_part(op, bias)
            found = alpha * pull(ratio(relevance, up))
            if beta:
                down, pull = negative_part(op, bias)
                found = found - beta * pull(ratio(relevance, down))
            return (found,)

        return back

    return rule


def z_box_rule(op: Op, low: Array, high: Array) -> Back:
    """Σ_j (z_ij − l_i w_ij⁺ − h_i w_ij⁻) / Σ_i(same) R_j, for pixels from l to h (Montavon et al. 2017, equation 15)."""

    def back(y: Array, relevance: Array) -> tuple[Array]:
        if not op.of_image:
            raise ModelError(
                "the model changes the image (scales or pads it, say) before its first layer with weights, for whose input "
                "low and high would not be the limits.",
                "Do that outside of the model, by preprocess=, or use a method without limits, such as lrp-epsilon.",
            )
        (x,), weight = op.args, op.params["weight"]
        z, pull = op.again(x, bias=None)
        z_low, pull_low = op.again(low, weight=relu(weight), bias=None)
        z_high, pull_high = op.again(high, weight=negative(weight), bias=None)
        s = ratio(relevance, z - z_low - z_high)
        return (x * pull(s)[0] - low * pull_low(s)[0] - high * pull_high(s)[0],)

    return back


def flat_rule(op: Op, *_: Array) -> Back:
    """Σ_j 1 / Σ_i 1 R_j: every input of an output alike (Lapuschkin et al. 2019, supplementary note 1)."""
    return _of_weights_alone(op, namespace(op.params["weight"]).ones_like)


def w_square_rule(op: Op, *_: Array) -> Back:
    """Σ_j w_ij² / Σ_i w_ij² R_j (Montavon et al. 2017, equation 12)."""
    return _of_weights_alone(op, namespace(op.params["weight"]).square)


def _of_weights_alone(op: Op, change: Callable[[Array], Array]) -> Back:
    def back(y: Array, relevance: Array) -> tuple[Array]:
        ones = namespace(y).ones_like(op.args[0])
        z, pull = op.again(ones, weight=change(op.params["weight"]), bias=None)
        return (pull(ratio(relevance, z))[0],)

    return back


def own_sign_sums(op: Op, *_: Array) -> Back:
    """What the z⁺ rule makes of an average or an addition: in proportion to what has the output's own sign.

    These are the positive parts wherever a ReLU follows; where none does, relevance may come to an output below zero.
    """
    args = op.args

    def back(y: Array, relevance: Array) -> tuple[Array, ...]:
        ups, downs = _by_sign(op, args, y)
        (up, pull_up), (down, pull_down) = op.again(*ups), op.again(*downs)
        xp = namespace(y)
        rising = pull_up(ratio(xp.where(up + down >= 0, relevance, xp.zeros_like(up)), up))
        falling = pull_down(ratio(xp.where(up + down < 0, relevance, xp.zeros_like(up)), down))
        return tuple(a * r + b * f for a, r, b, f in zip(ups, rising, downs, falling))

    return back


def _by_sign(op: Op, args: tuple[Array, ...], y: Array) -> tuple[list[Array], list[Array]]:
    """What of each input of a sum brings something positive, and what something negative: by the derivative, since an
    input may be taken away (`a - b`) or multiplied on the way (`torch.add(a, b, alpha=-3)`)."""
    if len(args) == 1:
        return [relu(args[0])], [negative(args[0])]
    xp, slopes = namespace(y), op.again(*args)[1](namespace(y).ones_like(y))
    ups = [xp.where(slope < 0, negative(a), relu(a)) for a, slope in zip(args, slopes)]
    return ups, [a - up for a, up in zip(args, ups)]


def equal_sums(op: Op, *_: Array) -> Back:
    """What the flat and the w² rule make of an average or an addition: every input of an output alike."""
    if len(op.carries) > 1:
        return unchanged(op, 1 / sum(op.carries))

    def back(y: Array, relevance: Array) -> tuple[Array, ...]:
        z, pull = op.again(namespace(y).ones_like(op.args[0]))
        return pull(ratio(relevance, z))

    return back


def _whole(op: Op) -> tuple[Array, Pull]:
    z, pull = op.again(*op.args)
    return z, lambda s: op.args[0] * pull(s)[0]


def positive_part(op: Op, bias: bool = True, x: Array = None) -> tuple[Array, Pull]:
    """(the sum of the z_ij that are positive, with the bias if that is; s -> Σ_j z_ij⁺ s_j)."""
    return _part(op, relu, negative, bias, x)


def negative_part(op: Op, bias: bool = True, x: Array = None) -> tuple[Array, Pull]:
    """(the sum of the z_ij that are negative, with the bias if that is; s -> Σ_j z_ij⁻ s_j)."""
    return _part(op, negative, relu, bias, x)


def _part(
    op: Op, same: Callable[[Array], Array], other: Callable[[Array], Array], bias: bool, x: Array
) -> tuple[Array, Pull]:
    x, weight, own = op.args[0] if x is None else x, op.params["weight"], op.params["bias"] if bias else None
    up, down = relu(x), negative(x)
    z_up, pull_up = op.again(up, weight=same(weight), bias=None if own is None else same(own))
    z_down, pull_down = op.again(down, weight=other(weight), bias=None)
    return z_up + z_down, lambda s: up * pull_up(s)[0] + down * pull_down(s)[0]
