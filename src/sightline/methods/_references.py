"""What DeepLIFT and DeepSHAP share."""

from __future__ import annotations

from collections.abc import Sequence

from sightline.arrays import Array, namespace, tile
from sightline.methods._paths import residual
from sightline.model import Model, Rule, Target
from sightline.stream import groups, split


def mean_over_references(
    model: Model, x: Array, target: Target, references: Sequence[Array], rule: Rule
) -> tuple[Array, dict[str, Array]]:
    """Multipliers times the difference to the reference, the mean over the references: (k, n, *image).

    With its `residual`, since what rides behind the images is not always told apart, nor every bend seen.
    """
    xp, total, change = namespace(x), 0.0, 0.0
    for some in groups(model, x, references):
        count = len(some)
        images, behind = tile(x, count), xp.concat([xp.broadcast_to(r, x.shape) for r in some], axis=0)
        both = xp.concat([images, behind], axis=0)
        trace = model.run(both, at=[""], target=target.repeat(2 * count), rule=rule)
        multipliers, scores = split(trace.grads[""], 2, 1), split(trace.score, 2, 1)
        found = multipliers[:, 0, ...] * (images - behind)
        total = total + xp.sum(split(found, count, 1), axis=1) / len(references)
        change = change + xp.sum(split(scores[:, 0, ...] - scores[:, 1, ...], count, 1), axis=1) / len(references)
    return total, {"residual": residual(total, change)}
