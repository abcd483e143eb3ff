"""GradientSHAP."""

from __future__ import annotations

from sightline.arrays import Array
from sightline.method import Baselines, Checks, Count, Size, method
from sightline.methods.expected_gradients import NAMED, expected
from sightline.model import Model, Target


@method(
    "gradient",
    family="path",
    cost="samples FB",
    source="Lundberg and Lee 2017, arXiv:1705.07874, in the form of Captum (Kokhlikyan et al. 2020, arXiv:2009.07896)",
)
def gradient_shap(
    model: Model,
    x: Array,
    target: Target,
    *,
    backgrounds: Baselines = NAMED,
    samples: Count = 50,
    noise: Size = 0.1,
    random_state: int = 0,
) -> tuple[Array, Checks]:
    """Expected gradients of copies of the image with Gaussian noise.

    Shape (k, n, *image), signed, in units of score; in the mean it sums to the mean score of the noisy copies less that
    of the backgrounds, so that these are SHAP values only of a model that is linear between them. `noise` is the standard
    deviation as a share of each image's range of values (Captum's is in the input's own units, 0 by default);
    `backgrounds` and checks as for expected gradients, which this is without noise.
    """
    return expected(model, x, target, backgrounds, samples, random_state, noise)
