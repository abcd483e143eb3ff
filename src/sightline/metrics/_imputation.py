"""Noisy linear imputation's linear part: missing pixels as weighted means of their neighbours, solved by multigrid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_DIAGONAL = 1 / 12  # weight of a diagonal neighbour; a direct one has twice as much (Rong et al. 2022)
_ITSELF = 4 * _DIAGONAL  # what `_spread` takes of the pixel itself
EXACT = 1e-7  # of the image's range: how far from the solution it may stop
_ROUGH = 1e-4  # by how much a solution in float32 lowers the error at the most
_DAMPING = 0.8  # of Jacobi's steps
_TINY = np.finfo(np.float32).tiny
_MOST = 100  # iterations a solution; about 8 are usual


@dataclass(frozen=True)
class _Level:
    """The system on one grid: which pixels are missing, the weights that `_spread` finds, a damped step of Jacobi's."""

    missing: np.ndarray
    diagonal: np.ndarray
    step: np.ndarray


def imputed(image: np.ndarray, missing: np.ndarray, exact: float = EXACT) -> np.ndarray:
    """The image (c, h, w) with each missing pixel (h, w) the mean of its eight neighbours, weighed 1/6 and 1/12.

    Solves one linear system for all missing pixels, to `exact` of the image's range, by solutions in float32 of what is
    left in float64: in small arrays four times as fast as at once. At least one pixel must be known. At the border the
    weights of the neighbours that are there count.
    """
    known = image[:, ~missing]
    found = np.where(missing, known.mean(axis=1)[:, None, None], image)
    scale = np.ptp(known, axis=1)[:, None, None]
    levels, diagonal = _levels(missing), _spread(np.ones(missing.shape))
    share = np.divide(1, scale, out=np.zeros_like(scale), where=scale > 0)
    for _ in range(_MOST):
        left = missing * (_spread(found) - diagonal * found) * share
        more, error = _solved(levels, left.astype(np.float32), exact) if levels else (left, 0.0)
        found += scale * more
        if error <= exact:
            return found
    raise ArithmeticError(f"the imputation did not settle in {_MOST} rounds")


def _solved(levels: list[_Level], right: np.ndarray, exact: float) -> tuple[np.ndarray, float]:
    """Conjugate gradients, each channel's own, and the error that is left: about the residual after a multigrid cycle."""
    found, residual = np.zeros_like(right), right
    z = _cycle(levels, residual)
    enough = max(exact, _ROUGH * float(np.abs(z).max()))
    way, rz = z, _dots(residual, z)
    for _ in range(_MOST):
        error = float(np.abs(z).max())
        if error <= enough:
            break
        image = _applied(levels[0], way)
        length = rz / np.maximum(_dots(way, image), _TINY)
        found = found + length * way
        residual = residual - length * image
        z = _cycle(levels, residual)
        rz, before = _dots(residual, z), rz
        way = z + (rz / np.maximum(before, _TINY)) * way
    return found, error


def _dots(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The inner product of each channel."""
    return np.array([np.vdot(one, other) for one, other in zip(a, b)])[:, None, None]


def _levels(missing: np.ndarray) -> list[_Level]:
    """The grid and ever coarser ones, where a cell is missing if all of its four are; none where nothing is missing."""
    levels = []
    while missing.any():
        diagonal = _spread(np.ones(missing.shape, np.float32))
        itself = np.maximum(diagonal - np.float32(_ITSELF), _TINY)
        levels.append(_Level(missing, diagonal, np.float32(_DAMPING) * missing / itself))
        if min(missing.shape) < 4:
            break
        even = np.pad(missing, [(0, side % 2) for side in missing.shape], mode="edge")
        missing = even[::2, ::2] & even[1::2, ::2] & even[::2, 1::2] & even[1::2, 1::2]
    return levels


def _spread(a: np.ndarray) -> np.ndarray:
    """Each pixel's neighbours by their weights, and a third of itself: 1, 2, 1 along both axes, over 12."""
    rows = 2 * a
    rows[..., 1:, :] += a[..., :-1, :]
    rows[..., :-1, :] += a[..., 1:, :]
    out = 2 * rows
    out[..., 1:] += rows[..., :-1]
    out[..., :-1] += rows[..., 1:]
    out *= _DIAGONAL
    return out


def _applied(level: _Level, a: np.ndarray) -> np.ndarray:
    """The system's left side; the third that `_spread` takes of the pixel itself stands on both sides."""
    out = level.diagonal * a
    out -= _spread(a)
    return np.asarray(out * level.missing)


def _cycle(levels: list[_Level], right: np.ndarray) -> np.ndarray:
    """About the solution: a step of Jacobi's, what is left on the coarser grid, another step."""
    level = levels[0]
    found: np.ndarray = level.step * right
    if len(levels) > 1:
        left = _coarser(right - _applied(level, found)) * levels[1].missing
        found += _finer(_cycle(levels[1:], left), right.shape[-2:]) * level.missing
    found += level.step * (right - _applied(level, found))
    return found


def _finer(a: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Bilinear interpolation to twice the grid, of `size`."""
    return _doubled(_doubled(a, size[0], -2), size[1], -1)


def _doubled(a: np.ndarray, size: int, axis: int) -> np.ndarray:
    """Twice the rows, or one fewer: each 3/4 of its own and 1/4 of the one that it lies nearer to."""
    shape = list(a.shape)
    shape[axis] = size
    out = np.empty(shape, a.dtype)
    near, quarter, rows = (np.moveaxis(each, axis, 0) for each in (0.75 * a, 0.25 * a, out))
    even, odd = rows[::2], rows[1::2]
    even[0] = near[0] + quarter[0]
    np.add(near[1:], quarter[:-1], out=even[1:])
    inner = min(len(odd), len(near) - 1)
    np.add(near[:inner], quarter[1 : inner + 1], out=odd[:inner])
    odd[inner:] = near[inner : len(odd)] + quarter[inner : len(odd)]
    return out


def _coarser(a: np.ndarray) -> np.ndarray:
    """What `_finer` takes of each cell: its transpose."""
    return _halved(_halved(a, -1), -2)


def _halved(a: np.ndarray, axis: int) -> np.ndarray:
    rows = np.moveaxis(a, axis, 0)
    even, odd = 0.25 * rows[::2], 0.25 * rows[1::2]
    out = 3 * even
    out[: len(odd)] += 3 * odd
    out[:-1] += even[1:]
    out[0] += even[0]
    out[1:] += odd[: len(out) - 1]
    if len(odd) == len(out):
        out[-1] += odd[-1]
    return np.moveaxis(out, 0, axis)
