"""Shapley values by permutations."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sightline.arrays import Array
from sightline.hiding import ends, scores, size_of
from sightline.method import Checks, Count, Size, method
from sightline.methods._coalitions import kept, painted
from sightline.methods._sampling import Estimate, Samples, error_of_mean, rounds, settled
from sightline.methods._superpixels import Segmentation, sizes, superpixels
from sightline.model import Model, Target


@method(
    family="perturbation",
    cost="2 F + samples × (superpixels - 1) F",
    source="Castro et al. 2009, section 3, doi:10.1016/j.cor.2008.04.004; Štrumbelj and Kononenko 2010",
)
def shapley_sampling(
    model: Model,
    x: Array,
    target: Target,
    *,
    baseline: Array = "mean",
    segmentation: Segmentation = "slic",
    segments: Count = 50,
    samples: Samples = 25,
    tolerance: Size | None = None,
    random_state: int = 0,
) -> tuple[Array, Checks]:
    """Mean change of the score when a superpixel comes to those before it, over random orders of the superpixels.

    Shape (k, n, height, width), signed, in units of score: an unbiased estimate of the Shapley values; all pixels of a
    superpixel have its value. The values of each order, and so their means, sum exactly to the score's change from the
    baseline. `samples` counts orders. Checks: `standard_error`, the mean over the map in shares of its range;
    `samples`, those used (with `tolerance` it stops at an eighth of them or a multiple). A superpixel shares alike what
    it does only together with others, and pictures of a few superpixels are none that the model knows.
    """
    size_of(model, x)
    labels = superpixels(x, model.channel, segmentation, segments)
    counts = sizes(labels)
    steps = max(1, max(counts) - 1)  # passes of an order: both its ends are known
    whole, none = ends(model, x, target, baseline)

    def keep(some: list[int]) -> np.ndarray:
        coalitions = np.ones((len(some), len(counts), max(counts)), bool)
        for row, (k, step) in enumerate(divmod(item, steps) for item in some):
            for i, count in enumerate(counts):
                coalitions[row, i, _order(random_state, k, count)[step + 1 :]] = False
        return kept(coalitions, labels)

    def estimates() -> Iterator[Estimate]:
        total, squares = ([np.zeros((len(whole), count)) for count in counts] for _ in range(2))
        for orders in rounds(samples, tolerance):
            passes = range(orders.start * steps, orders.stop * steps)
            left = scores(model, x, target, baseline, passes, keep)
            left = left.reshape(len(whole), len(orders), steps, len(counts))
            for i, count in enumerate(counts):
                for k, on_the_way in zip(orders, np.moveaxis(left[:, :, : count - 1, i], 1, 0)):
                    levels = np.concatenate([none[:, i, None], on_the_way, whole[:, i, None]], axis=1)
                    change = np.diff(levels)[:, np.argsort(_order(random_state, k, count))]
                    total[i] += change
                    squares[i] += change**2
            errors = [error_of_mean(t, s, orders.stop) for t, s in zip(total, squares)]
            yield orders.stop, painted([t / orders.stop for t in total], labels), painted(errors, labels), {}

    return settled(estimates(), tolerance, x)


def _order(random_state: int, k: int, count: int) -> np.ndarray:
    """The order in which the superpixels come in draw `k`."""
    return np.argsort(np.random.default_rng([random_state, k]).random(count))
