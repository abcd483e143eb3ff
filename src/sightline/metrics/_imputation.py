"""Noisy linear imputation's linear part: missing pixels as weighted means of their neighbours, solved by multigrid.

The system is that of the paper times 12, so that its weights are whole: 1 for a diagonal neighbour, 2 for a direct one.
Every grid has a border of zeros, beyond which nothing is known and nothing missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_ITSELF = 4  # what `_spread` takes of the pixel itself
EXACT = 1e-8  # of the image's range: how far from the solution it may stop
_ROUGH = 1e-4  # by how much a solution in float32 lowers the error at the most
_DAMPING = 0.8  # of Jacobi's steps
_TINY = np.finfo(np.float32).tiny
_MOST = 100  # iterations a solution; about 8 are usual
_INNER = (..., slice(1, -1), slice(1, -1))


@dataclass(frozen=True)
class _Level:
    """The system on one grid: which pixels are missing, the weights that `_spread` finds, a damped step of Jacobi's."""

    missing: np.ndarray
    diagonal: np.ndarray
    step: np.ndarray
    work: list[np.ndarray]  # arrays to be written again and again: new memory costs more than what is done in it


def imputed(image: np.ndarray, missing: np.ndarray, exact: float = EXACT) -> np.ndarray:
    """The image (c, h, w) with each missing pixel (h, w) the mean of its eight neighbours, weighed 1/6 and 1/12.

    Solves one linear system for all missing pixels, to about `exact` of the image's range, by solutions in float32 of
    what is left in float64: in small arrays four times as fast as at once. At least one pixel must be known. At the border
    the weights of the neighbours that are there count.
    """
    known = image[:, ~missing]
    scale, mean = (each[:, None, None] for each in (np.ptp(known, axis=1), known.mean(axis=1)))
    share = np.divide(1, scale, out=np.zeros_like(scale), where=scale > 0)
    gone, found = _bordered(missing), _bordered(np.where(missing, mean, image))
    levels, diagonal = _levels(missing, len(image)), _bordered(_spread(_bordered(np.ones(missing.shape))))
    for _ in range(_MOST):
        left = gone * (_bordered(_spread(found)) - diagonal * found) * share
        more, error = _solved(levels, left.astype(np.float32), exact) if levels else (left, 0.0)
        found += scale * more
        if error <= exact:
            return np.asarray(found[_INNER])
    raise ArithmeticError(f"the imputation did not settle in {_MOST} rounds")


def _solved(levels: list[_Level], right: np.ndarray, exact: float) -> tuple[np.ndarray, float]:
    """Conjugate gradients, each channel's own, and the error that is left: about the residual after a multigrid cycle."""
    found, residual = np.zeros_like(right), right.copy()
    z = _cycle(levels, residual)
    enough = max(exact, _ROUGH * _largest(z))
    way, rz = z, _dots(residual, z)
    for _ in range(_MOST):
        if (error := _largest(z)) <= enough:
            break
        image = _applied(levels[0], way)
        length = rz / np.maximum(_dots(way, image), _TINY)
        found += length * way
        image *= length
        residual -= image
        z = _cycle(levels, residual)
        rz, before = _dots(residual, z), rz
        way = z + (rz / np.maximum(before, _TINY)) * way
    return found, error


def _largest(a: np.ndarray) -> float:
    return max(float(a.max()), -float(a.min()))


def _dots(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The inner product of each channel."""
    return np.array([np.vdot(one, other) for one, other in zip(a, b)])[:, None, None]


def _levels(missing: np.ndarray, channels: int) -> list[_Level]:
    """The grid and ever coarser ones, where a cell is missing if all of its four are; none where nothing is missing."""
    levels = []
    while missing.any():
        diagonal = _spread(_bordered(np.ones(missing.shape, np.float32)))
        step = np.float32(_DAMPING) * missing / np.maximum(diagonal - np.float32(_ITSELF), _TINY)
        work = [np.empty((channels, *shape), np.float32) for shape in _shapes_of_spread(missing.shape)]
        levels.append(_Level(_bordered(missing.astype(np.float32)), _bordered(diagonal), _bordered(step), work))
        if min(missing.shape) < 4:
            break
        even = np.pad(missing, [(0, side % 2) for side in missing.shape], mode="edge")
        missing = even[::2, ::2] & even[1::2, ::2] & even[::2, 1::2] & even[1::2, 1::2]
    return levels


def _bordered(a: np.ndarray) -> np.ndarray:
    """`a` (..., h, w) with a border of zeros."""
    out = np.zeros((*a.shape[:-2], a.shape[-2] + 2, a.shape[-1] + 2), a.dtype)
    out[_INNER] = a
    return out


def _shapes_of_spread(size: tuple[int, ...]) -> list[tuple[int, int]]:
    """Of what `_spread` writes, and last of the whole grid with its border, for `_applied`."""
    height, width = size
    return [(height + 1, width + 2), (height, width + 2), (height, width + 1), (height, width), (height + 2, width + 2)]


def _spread(a: np.ndarray, work: Sequence[np.ndarray | None] = (None,) * 4) -> np.ndarray:
    """Inside the border each pixel's neighbours by their weights, and 4 times itself: 1, 2, 1 along both axes."""
    rows = np.add(a[..., :-1, :], a[..., 1:, :], out=work[0])
    rows = np.add(rows[..., :-1, :], rows[..., 1:, :], out=work[1])
    both = np.add(rows[..., :-1], rows[..., 1:], out=work[2])
    return np.asarray(np.add(both[..., :-1], both[..., 1:], out=work[3]))


def _applied(level: _Level, a: np.ndarray) -> np.ndarray:
    """The system's left side, in the level's own memory; four times the pixel itself, which `_spread` takes, stand on
    both sides."""
    out: np.ndarray = np.multiply(level.diagonal, a, out=level.work[4])
    out[_INNER] -= _spread(a, level.work)
    out *= level.missing
    return out


def _cycle(levels: list[_Level], right: np.ndarray) -> np.ndarray:
    """About the solution: a step of Jacobi's, what is left on the coarser grid, another step."""
    level = levels[0]
    found: np.ndarray = level.step * right
    if len(levels) > 1:
        left = _bordered(_coarser(_left(level, right, found)[_INNER]))
        left *= levels[1].missing
        more = _finer(_cycle(levels[1:], left)[_INNER], found[_INNER].shape[-2:])
        found[_INNER] += more * level.missing[_INNER]
    left = _left(level, right, found)
    left *= level.step
    found += left
    return found


def _left(level: _Level, right: np.ndarray, found: np.ndarray) -> np.ndarray:
    """What is left of the right side, in the level's own memory."""
    out = _applied(level, found)
    return np.asarray(np.subtract(right, out, out=out))


def _finer(a: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Bilinear interpolation to twice the grid, of `size`."""
    return _doubled(_doubled(a, size[0], -2), size[1], -1)


def _doubled(a: np.ndarray, size: int, axis: int) -> np.ndarray:
    """Twice the rows, or one fewer: each 3/4 of its own and 1/4 of the one that it lies nearer to."""
    shape = list(a.shape)
    shape[axis] = size
    out = np.empty(shape, a.dtype)
    near, quarter, rows = (each.swapaxes(axis, 0) for each in (0.75 * a, 0.25 * a, out))
    even, odd = rows[::2], rows[1::2]
    even[0] = near[0] + quarter[0]
    np.add(near[1:], quarter[:-1], out=even[1:])
    inner = min(len(odd), len(near) - 1)
    np.add(near[:inner], quarter[1 : inner + 1], out=odd[:inner])
    odd[inner:] = near[inner : len(odd)] + quarter[inner : len(odd)]
    return out


def _coarser(a: np.ndarray) -> np.ndarray:
    """What `_finer` takes of each cell: its transpose."""
    return _halved(_halved(a, -2), -1)


def _halved(a: np.ndarray, axis: int) -> np.ndarray:
    rows = a.swapaxes(axis, 0)
    even, odd = 0.25 * rows[::2], 0.25 * rows[1::2]
    out = 3 * even
    out[: len(odd)] += 3 * odd
    out[:-1] += even[1:]
    out[0] += even[0]
    out[1:] += odd[: len(out) - 1]
    if len(odd) == len(out):
        out[-1] += odd[-1]
    return out.swapaxes(axis, 0)
