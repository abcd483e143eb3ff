"""DeepSHAP."""

from __future__ import annotations

from sightline.arrays import Array
from sightline.method import Baselines, method
from sightline.methods._paths import several
from sightline.methods._references import mean_over_references
from sightline.model import Model, Target
from sightline.rules.deep_lift import rescale


@method(
    "gradient",
    "rule",
    family="backward rule",
    cost="2 FB a baseline",
    source="Lundberg and Lee 2017, section 4.2, arXiv:1705.07874",
)
def deep_shap(
    model: Model, x: Array, target: Target, *, baseline: Baselines = "black"
) -> tuple[Array, dict[str, Array]]:
    """DeepLIFT, the mean over several references: an estimate of Shapley values.

    Shape (k, n, *image), signed, in units of score; it sums to the score less the mean score of the baselines. Shapley
    values only of a model that is a sum of functions of single values, a linear one for example, where pixels are
    independent, which those of a picture are not; with one baseline it is DeepLIFT. Check: `residual`, as DeepLIFT's.
    """
    return mean_over_references(model, x, target, several(baseline), rescale)
