"""DeepLIFT."""

from __future__ import annotations

from typing import Literal

from sightline.arrays import Array
from sightline.method import method
from sightline.methods._references import mean_over_references
from sightline.model import Model, Target
from sightline.rules.deep_lift import rescale, reveal_cancel


@method(
    "gradient",
    "rule",
    family="backward rule",
    cost="2 FB",
    source="Shrikumar et al. 2017, sections 3.3 to 3.5, arXiv:1704.02685",
)
def deep_lift(
    model: Model,
    x: Array,
    target: Target,
    *,
    baseline: Array = "black",
    form: Literal["rescale", "reveal-cancel"] = "rescale",
) -> tuple[Array, dict[str, Array]]:
    """What each pixel's difference to a reference adds to the score's difference.

    Shape (k, n, *image), signed, in units of score; it sums to the score less that of the baseline. "reveal-cancel"
    keeps positive and negative contributions apart where an activation follows weights; elsewhere it is "rescale". A
    rise of a maximum goes to the image's winner, a fall to the reference's. It depends on the reference, and two nets
    that compute the same function may get different maps. Check: `residual`, the share of the score's change that the
    sum leaves unexplained: more than rounding where images cannot be told from references (their axis is not the
    first), or an operation bends values unseen.
    """
    return mean_over_references(model, x, target, [baseline], rescale if form == "rescale" else reveal_cancel)
