"""Masks found by gradient steps: one for each target and image, a small grid enlarged bilinearly to the image."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from sightline.arrays import Array, like, namespace, resize, transposed
from sightline.hiding import blend, size_of
from sightline.model import Model, Target
from sightline.stream import groups


@dataclass(frozen=True)
class Stage:
    """Images that masks blend with their baselines, and how the score answers."""

    model: Model
    x: Array
    target: Target
    baseline: Array
    rows: Array  # (height, cells): enlarges a grid's rows bilinearly
    columns: Array  # (cells, width)
    whole: Array  # (k, n): score of the images
    none: Array  # (k, n): score of the baselines

    def share(self, masks: Array) -> tuple[Array, Array]:
        """How much of the score masks (k, n, cells, cells) keep, 0 for the baseline's and 1 for the image's (k, n; -1 where
        the baseline has the higher one), and its gradient with respect to them.

        The gradient at the blended image, times what the blend moves, goes back through the enlargement.
        """
        xp = namespace(masks)
        size = xp.maximum(xp.abs(self.whole - self.none), xp.zeros_like(self.whole) + 1e-12)
        found, slopes = [], []
        for k in range(masks.shape[0]):  # each target has masks, and so images, of its own
            large = xp.matmul(xp.matmul(self.rows, masks[k, ...]), self.columns)
            images = blend(self.model, self.x, self.baseline, large)
            trace = self.model.run(images, at=[""], target=self.target.only(k))
            slope = xp.sum(trace.grads[""][0, ...] * (self.x - self.baseline), axis=self.model.channel)
            slopes.append(xp.matmul(xp.matmul(transposed(self.rows), slope), transposed(self.columns)))
            found.append(trace.score[0, ...])
        rise = xp.stack(found, axis=0) - self.none
        return rise / size, xp.stack(slopes, axis=0) / size[..., None, None]

    def masks(self, cells: int) -> Array:
        """Masks that keep everything."""
        return like(np.ones((*self.whole.shape, cells, cells)), self.x)


def staged(model: Model, x: Array, target: Target, baseline: Array, cells: int) -> Stage:
    """The images on a stage for masks of `cells` by `cells`."""
    height, width = size_of(model, x)
    rows, columns = (resize(np.eye(cells), (side, cells)) for side in (height, width))
    whole, none = (model.run(a, target=target).score for a in (x, baseline))
    return Stage(model, x, target, baseline, like(rows, x), like(np.ascontiguousarray(columns.T), x), whole, none)


def descend(stage: Stage, values: Array, steps: int, rate: float, slope: Callable[[int, Array], Array]) -> Array:
    """`values` in 0..1 after that many steps of Adam (Kingma and Ba 2015) down `slope(step, values)`."""
    xp = namespace(values)
    mean, square = xp.zeros_like(values), xp.zeros_like(values)
    for step in _told(stage, steps):
        new = slope(step, values)
        mean, square = 0.9 * mean + 0.1 * new, 0.999 * square + 0.001 * new * new
        move = (mean / (1 - 0.9 ** (step + 1))) / (xp.sqrt(square / (1 - 0.999 ** (step + 1))) + 1e-8)
        values = xp.clip(values - rate * move, 0.0, 1.0)
    return values


def _told(stage: Stage, steps: int) -> Iterator[int]:
    """The steps, with progress told."""
    return (step for group in groups(stage.model, stage.x, range(steps)) for step in group)
