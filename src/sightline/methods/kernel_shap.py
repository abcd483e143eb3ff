"""KernelSHAP."""

from __future__ import annotations

from math import comb

import numpy as np

from sightline.arrays import Array
from sightline.hiding import ends, size_of
from sightline.method import Checks, Count, Size, method
from sightline.methods._coalitions import Fit, fit_all, widened
from sightline.methods._sampling import Samples
from sightline.methods._superpixels import Segmentation, sizes, superpixels
from sightline.model import Model, Target


@method(
    family="perturbation",
    cost="2 F + samples F",
    source="Lundberg and Lee 2017, equation 8 and theorem 2, arXiv:1705.07874; pairs: Covert and Lee 2021, arXiv:2012.01536",
)
def kernel_shap(
    model: Model,
    x: Array,
    target: Target,
    *,
    baseline: Array = "mean",
    segmentation: Segmentation = "slic",
    segments: Count = 50,
    samples: Samples = 1000,
    tolerance: Size | None = None,
    random_state: int = 0,
) -> tuple[Array, Checks]:
    """Shapley values of superpixels, by least squares over random coalitions with the Shapley kernel.

    Shape (k, n, height, width), signed, in units of score; all pixels of a superpixel have its value. The values sum,
    over the superpixels, exactly to the score's change from the baseline. Coalitions come in pairs, each with its
    complement; where `samples` reach for all of them, all are taken once and the values are exact. Checks:
    `standard_error`, the mean over the map in shares of its range; `samples`, those used (with `tolerance` it stops at
    an eighth of them or a multiple). A superpixel shares alike what it does only together with others, and the
    baseline behind which parts are hidden is no picture that the model knows.
    """
    size_of(model, x)
    labels = superpixels(x, model.channel, segmentation, segments)
    designs = [_design(count, samples, random_state) for count in sizes(labels)]
    whole, none = ends(model, x, target, baseline)

    def fit(i: int, y: np.ndarray) -> Fit:
        z, weights = (part[: len(y)] for part in designs[i])
        exact = len(y) == _in_all(z.shape[1])
        return _shapley(z, weights, y - none[:, i], (whole - none)[:, i], exact)

    return fit_all(model, x, target, baseline, labels, [z for z, _ in designs], fit, samples, tolerance)


def _in_all(count: int) -> int:
    """How many coalitions of `count` superpixels there are, but for the empty and the whole one."""
    return (1 << count) - 2


def _design(count: int, samples: int, random_state: int) -> tuple[np.ndarray, np.ndarray]:
    """Coalitions (m, count) and what each weighs: all with the Shapley kernel, or pairs drawn by it, which weigh alike."""
    if _in_all(count) <= samples:
        half = 1 + np.random.default_rng(random_state).permutation(
            (1 << (count - 1)) - 1
        )  # in any order: it may stop early
        numbers = np.stack([half, (1 << count) - 1 - half], axis=1).ravel()
        z = numbers[:, None] >> np.arange(count) & 1 > 0
        return z, np.array([(count - 1) / (comb(count, s) * s * (count - s)) for s in z.sum(axis=1).tolist()])
    halves = [_draw(np.random.default_rng([random_state, k]), count) for k in range(-(-samples // 2))]
    return np.stack([z for half in halves for z in (half, ~half)])[:samples], np.ones(samples)


def _draw(rng: np.random.Generator, count: int) -> np.ndarray:
    """A size by the Shapley kernel's share of all coalitions of that size, then any coalition of it."""
    size = np.arange(1, count)
    shares = np.cumsum(1 / (size * (count - size)))
    kept = 1 + int(np.searchsorted(shares, rng.random() * shares[-1], side="right"))
    return np.argsort(np.argsort(rng.random(count))) < kept


def _shapley(z: np.ndarray, weights: np.ndarray, y: np.ndarray, change: np.ndarray, exact: bool) -> Fit:
    """Least squares of `y` (m, k) under the constraint that the values sum to `change` (k,): its even share for each,
    and a part that sums to zero."""
    count = z.shape[1]
    share = z.mean(axis=1, keepdims=True)
    even, sides, rest = np.broadcast_to(change / count, (count, len(change))), z - share, y - share * change
    weighted = weights[:, None] * sides
    square = weighted.T @ sides  # zero for values that are all alike: made one there, or rounding would be inverted
    inverse = np.linalg.pinv(square + np.trace(square) / count**2, rcond=1e-10, hermitian=True)
    uneven = inverse @ weighted.T @ rest
    found = even + uneven - uneven.mean(axis=0)
    if exact:
        return found.T, np.zeros(found.T.shape), {}
    pull = (weighted @ inverse)[:, :, None] * (rest - sides @ uneven)[:, None, :]  # of each coalition on each value
    pairs = np.add.reduceat(pull, np.arange(0, len(y), 2), axis=0)
    return found.T, widened(np.sqrt((pairs**2).sum(axis=0)).T, len(pairs), count - 1), {}
