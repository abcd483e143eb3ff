"""RISE."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from sightline.arrays import Array, at_least_float32, bilinear, like, namespace, to_numpy
from sightline.eager import on_host
from sightline.hiding import check_share, hidden, size_of
from sightline.method import Checks, Count, Size, method
from sightline.methods._sampling import Estimate, Samples, error_of_mean, rounds, settled
from sightline.model import Model, Target


@method(
    family="perturbation", cost="samples F", source="Petsiuk et al. 2018, equation 6 and section 3.2, arXiv:1806.07421"
)
def rise(
    model: Model,
    x: Array,
    target: Target,
    *,
    baseline: Array = "mean",
    cells: Count = 7,
    keep: Size = 0.5,
    samples: Samples = 4000,
    tolerance: Size | None = None,
    random_state: int = 0,
) -> tuple[Array, Checks]:
    """How much the mean score of the image behind random smooth masks rises over those masks that keep a pixel.

    Shape (k, n, height, width), signed, in units of score. A mask is a grid of `cells` by `cells`, each kept with
    probability `keep`, enlarged bilinearly and moved by a random shift of its own. The sum is divided by the expected
    mask, as in the paper; unlike there, the scores' own mean is taken from them, which moves the map by a constant and
    takes the constant's noise out of it. Checks: `standard_error`, the mean over the map in shares of its range;
    `samples`, those used; with `tolerance` it stops (at an eighth of `samples` or a multiple) when the error is under
    it. It blurs what is smaller than a cell, and what matters only together with something else it shares out.
    """
    check_share("keep", keep)
    draw = partial(_masks, x=x, size=size_of(model, x), cells=cells, keep=keep, random_state=random_state)
    return settled(_estimates(model, x, target, baseline, draw, keep, samples, tolerance), tolerance, x)


def _estimates(
    model: Model,
    x: Array,
    target: Target,
    baseline: Array,
    draw: partial[Array],
    keep: float,
    samples: int,
    tolerance: float | None,
) -> Iterator[Estimate]:
    size = size_of(model, x)
    sums: Array = 0.0
    for items in rounds(samples, tolerance):
        for masks, score in hidden(model, x, target, baseline, items, draw):
            sums = sums + _products(masks, score)
        plain, squared = to_numpy(sums).astype(np.float64)
        found, error = _centred(plain, squared[..., 1:], items.stop)
        shape = (*found.shape[:2], *size)
        yield items.stop, found.reshape(shape) / keep, error.reshape(shape) / keep, {}


@on_host
def _products(masks: Array, score: Array) -> Array:
    """Sums (2, 3, k, n, 1 + pixels) of the scores' powers 0 to 2 by the masks, led by a one, and by their squares."""
    xp = namespace(masks)
    flat, scores = xp.reshape(masks, (masks.shape[0], -1)), xp.moveaxis(score, 1, 2)
    powers = xp.stack([xp.ones_like(scores), scores, scores * scores], axis=0)
    alone = xp.sum(powers, axis=-1, keepdims=True)
    each = [xp.concat([alone, xp.matmul(powers, some)], axis=-1) for some in (flat, flat * flat)]
    return xp.stack(each, axis=0)


def _centred(plain: np.ndarray, squared: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean of (score less the mean score) times mask, and its standard error, from the sums of the products of the
    scores' powers 0 to 2 with the masks (led by a column of ones) and with their squares."""
    mean = plain[1, ..., :1] / count
    total = plain[1, ..., 1:] - mean * plain[0, ..., 1:]
    squares = squared[2] - 2 * mean * squared[1] + mean**2 * squared[0]
    return total / count, error_of_mean(total, squares, count)


def _masks(some: list[int], x: Array, size: tuple[int, int], cells: int, keep: float, random_state: int) -> Array:
    """Masks (m, 1, height, width), each enlarged by one cell more than the image, which is cut out of it after a random
    shift: for each axis one product with the weights of the pixels that are left.
    """
    sides = [-(-side // cells) for side in size]  # of a cell
    drawn = [_drawn(np.random.default_rng([random_state, k]), cells, keep, sides) for k in some]
    grids, *shifts = (np.array(each) for each in zip(*drawn))
    rows, columns = (
        bilinear(cells, (cells + 1) * side)[shift[:, None] + np.arange(length)]
        for side, shift, length in zip(sides, shifts, size)
    )
    wide = at_least_float32(x[:1, ...])
    return _enlarged(like(rows, wide), like(grids, wide), like(np.moveaxis(columns, 1, 2), wide))


@on_host
def _enlarged(rows: Array, grids: Array, columns: Array) -> Array:
    xp = namespace(grids)
    return xp.matmul(xp.matmul(rows, grids), columns)[:, None, ...]


def _drawn(rng: np.random.Generator, cells: int, keep: float, sides: list[int]) -> tuple[np.ndarray, int, int]:
    """Which cells one mask keeps, and its shift down and to the right."""
    grid = rng.random((cells, cells)) < keep
    down, right = (int(rng.integers(side)) for side in sides)
    return grid, down, right
