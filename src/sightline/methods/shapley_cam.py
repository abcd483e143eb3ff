"""ShapleyCAM."""

from __future__ import annotations

from sightline.arrays import Array, logsumexp, namespace
from sightline.method import method
from sightline.methods._cam import SPACE, check_is_class, weighed
from sightline.model import Layer, Model, Target
from sightline.scores import check_classes
from sightline.tail import Tail


@method(
    "gradient",
    "layer",
    family="CAM",
    cost="1 F + 4 tails",
    source="Cai 2025, theorem 2 and the ReST utility, arXiv:2501.06261",
    scale_free=False,
)
def shapley_cam(model: Model, x: Array, target: Target, *, layer: Layer) -> Array:
    """Grad-CAM of a class's score plus its log-probability, corrected by half of their curvature along the feature map.

    A channel weighs the mean over its cells of g - HA / 2: with g the gradient and H the Hessian of score +
    log-probability, g - HA / 2 approximates the Shapley value of a cell over the cell. H is that of the log-probability
    carried down to the layer, which is all of it where only ReLU, max-pooling and linear layers follow; the curvature
    of smooth activations above the layer (GELU, SiLU) is left out. Shape (k, n, height, width) of the layer's own
    grid, not negative. TargetError for a target that is no class. A second-order guess at what taking cells away does:
    it cannot see what a large change would do.
    """
    trace = model.run(x, at=[layer.name], target=target.then(_rest))
    check_is_class(model, x, target, "ShapleyCAM")
    value = trace.values[layer.name]
    tail, xp = Tail(model, layer, x), namespace(value)
    step = 2.0**-13 if "64" in str(value.dtype) else 2.0**-6  # rounding against curvature
    ends = [tail.run(value * (1 + s)).outputs for s in (step, -step)]
    along = (_exponents(ends[0]) - _exponents(ends[1])) / (2 * step)  # the Jacobian times the feature map
    bend = tail.run(value, at=[""], target=Target(_slope, (along,))).grads[""]
    weights = layer.spatial(trace.grads[layer.name] + bend / 2)
    return weighed(xp.mean(weights, axis=SPACE, keepdims=True), layer.spatial(value))


def _rest(outputs: Array, score: Array) -> Array:
    """Score plus log-probability of the class that has the score."""
    check_classes(outputs)
    if outputs.shape[1] > 1:
        return 2 * score - logsumexp(outputs)[None, :]
    return 2 * score - logsumexp(namespace(score).stack([score - score, score], axis=-1))


def _exponents(outputs: Array) -> Array:
    """What the probabilities are the softmax of."""
    return outputs if outputs.shape[1] > 1 else namespace(outputs).concat([outputs - outputs, outputs], axis=-1)


def _slope(outputs: Array, along: Array) -> Array:
    """How fast the logarithm of the probabilities' denominator grows when the exponents move by `along`: (1, n)."""
    xp, exponents = namespace(outputs), _exponents(outputs)
    powers = xp.exp(exponents - logsumexp(exponents)[..., None])
    return xp.sum(powers * along, axis=-1)[None, :]
