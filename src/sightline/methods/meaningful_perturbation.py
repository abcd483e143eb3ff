"""Meaningful perturbation."""

from __future__ import annotations

from sightline.arrays import Array, namespace, relu
from sightline.method import Checks, Count, Size, method
from sightline.methods._optimised import Stage, descend, staged
from sightline.model import Model, Target

_ROUGH = 3  # the power of the total variation


@method(
    "gradient",
    family="perturbation",
    cost="2 F + (steps + 1) FB a target",
    source="Fong and Vedaldi 2017, equations 2 and 4, arXiv:1704.03296",
)
def meaningful_perturbation(
    model: Model,
    x: Array,
    target: Target,
    *,
    baseline: Array = "blurred",
    cells: Count = 28,
    steps: Count = 300,
    rate: Size = 0.1,
    sparsity: Size = 1e-3,
    smoothness: Size = 1e-3,
) -> tuple[Array, Checks]:
    """What of the image must be hidden to lose the score: the smallest smooth mask, found by gradient descent.

    Shape (k, n, cells, cells), 0 to 1: how much of each cell is hidden. `steps` of Adam at `rate`, from a mask that
    hides nothing, minimise the share of the score that is left (1 for the image's, 0 for the baseline's or less) plus
    `sparsity` times the hidden sum plus `smoothness` times the total variation, cubed differences, of the mask. The
    paper takes a probability for the share, moves the image a little at random at each step, which is left out here,
    begins with a disc, and has other weights (1e-4 and 1e-2). Checks: `objective`, what was reached; `left`, the share
    left. It is one local minimum: other masks may do as well, and another `sparsity` gives another size.
    """
    stage = staged(model, x, target, baseline, cells)

    def slope(_: int, masks: Array) -> Array:
        left, fall = stage.share(masks)
        going = namespace(left).astype(left > 0, left.dtype)[..., None, None]  # no gain below the baseline's score
        return fall * going - sparsity + smoothness * _variation(masks)[1]

    masks = descend(stage, stage.masks(cells), steps, rate, slope)
    left, objective = _objective(stage, masks, sparsity, smoothness)
    return 1 - masks, {"objective": objective, "left": left}


def _objective(stage: Stage, masks: Array, sparsity: float, smoothness: float) -> tuple[Array, Array]:
    xp = namespace(masks)
    left = stage.share(masks)[0]
    return left, relu(left) + sparsity * xp.sum(1 - masks, axis=(-2, -1)) + smoothness * _variation(masks)[0]


def _variation(masks: Array) -> tuple[Array, Array]:
    """Sum over neighbours of their absolute difference cubed, (k, n), and its gradient."""
    xp = namespace(masks)
    total, slope = 0.0, 0.0
    for axis in (-2, -1):
        lines = masks if axis == -2 else xp.moveaxis(masks, -1, -2)
        steps = lines[..., 1:, :] - lines[..., :-1, :]
        total = total + xp.sum(xp.abs(steps) ** _ROUGH, axis=(-2, -1))
        pull = _ROUGH * steps * xp.abs(steps)
        edge = xp.zeros_like(lines[..., :1, :])
        back = xp.concat([edge, pull], axis=-2) - xp.concat([pull, edge], axis=-2)
        slope = slope + (back if axis == -2 else xp.moveaxis(back, -1, -2))
    return total, slope
