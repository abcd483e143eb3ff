"""LIME."""

from __future__ import annotations

import numpy as np

from sightline.arrays import Array
from sightline.hiding import size_of
from sightline.method import Checks, Count, Size, method
from sightline.methods._coalitions import Fit, fit_all, widened
from sightline.methods._sampling import Samples
from sightline.methods._superpixels import Segmentation, sizes, superpixels
from sightline.model import Model, Target


@method(family="perturbation", cost="samples F", source="Ribeiro et al. 2016, sections 3.3 and 3.4, arXiv:1602.04938")
def lime(
    model: Model,
    x: Array,
    target: Target,
    *,
    baseline: Array = "mean",
    segmentation: Segmentation = "slic",
    segments: Count = 50,
    width: Size = 0.25,
    ridge: Size = 1.0,
    samples: Samples = 1000,
    tolerance: Size | None = None,
    random_state: int = 0,
) -> tuple[Array, Checks]:
    """Coefficients of a linear model of the score, fitted to the image with random superpixels hidden.

    Shape (k, n, height, width), signed, in units of score; all pixels of a superpixel have its coefficient. Each
    superpixel is kept with probability 1/2 (the first sample is the image itself); a sample weighs exp(-D²/width²), D
    its cosine distance from the image in terms of superpixels (the authors' code halves that exponent); `ridge` is the
    penalty of the squared coefficients. Checks: `standard_error`, the mean over the map in shares of its range;
    `samples`, those used (with `tolerance` it stops at an eighth of them or a multiple); `fit`, the weighted share of
    the score's variance that the linear model explains. What superpixels do only together it cannot tell: a low `fit`
    says that there is such a thing.
    """
    size_of(model, x)
    labels = superpixels(x, model.channel, segmentation, segments)
    designs = [_draws(count, samples, random_state) for count in sizes(labels)]

    def fit(i: int, y: np.ndarray) -> Fit:
        z = designs[i][: len(y)].astype(np.float64)
        return _ridge(z, _closeness(z, width), y, ridge)

    return fit_all(model, x, target, baseline, labels, designs, fit, samples, tolerance)


def _draws(count: int, samples: int, random_state: int) -> np.ndarray:
    """Coalitions (samples, count); the first keeps everything."""
    drawn = [np.random.default_rng([random_state, k]).random(count) < 0.5 for k in range(1, samples)]
    return np.stack([np.ones(count, bool), *drawn])


def _closeness(z: np.ndarray, width: float) -> np.ndarray:
    """What each coalition weighs: its angle to the one that keeps everything has the cosine √(kept / all)."""
    distance = 1 - np.sqrt(z.mean(axis=1))
    return np.asarray(np.exp(-((distance / max(width, 1e-12)) ** 2)))


def _ridge(z: np.ndarray, weights: np.ndarray, y: np.ndarray, ridge: float) -> Fit:
    """Weighted least squares with a free constant; the errors hold for any noise (White 1980)."""
    share = weights[:, None] / weights.sum()
    around, rest = z - (share * z).sum(axis=0), y - (share * y).sum(axis=0)
    weighted = weights[:, None] * around
    inverse = np.linalg.pinv(weighted.T @ around + ridge * np.eye(z.shape[1]), rcond=1e-10, hermitian=True)
    found = inverse @ weighted.T @ rest
    left = rest - around @ found
    errors = widened(np.sqrt((weighted @ inverse).T ** 2 @ left**2), len(z), z.shape[1] + 1)
    spread = (share * rest**2).sum(axis=0)
    return found.T, errors.T, {"fit": 1 - (share * left**2).sum(axis=0) / np.maximum(spread, 1e-30)}
