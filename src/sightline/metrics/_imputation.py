"""Noisy linear imputation's linear part: missing pixels as weighted means of their neighbours, solved by multigrid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_DIAGONAL = 1 / 12  # weight of a diagonal neighbour; a direct one has twice as much (Rong et al. 2022)
_ITSELF = 4 * _DIAGONAL  # what `_spread` takes of the pixel itself
EXACT = 1e-7  # of the image's range: how far from the solution it may stop
_ROUGH = 3e-4  # by how much each solution in float32 lowers the error
_DAMPING = 0.8  # of Jacobi's steps
_MOST = 100  # iterations a solution; about 8 are usual


@dataclass(frozen=True)
class _Level:
    """The system on one grid: which pixels are missing, the weights that `_spread` finds, a damped step of Jacobi's."""

    missing: np.ndarray
    diagonal: np.ndarray
    step: np.ndarray


def imputed(image: np.ndarray, missing: np.ndarray, exact: float = EXACT) -> np.ndarray:
    """The image (c, h, w) with each missing pixel (h, w) the mean of its eight neighbours, weighed 1/6 and 1/12.

    Solves one linear system for all missing pixels in float64, to `exact` of the image's range. At least one pixel must be
    known. At the border the weights of the neighbours that are there count.
    """
    fine = _levels(missing)
    return np.stack([_filled(channel, missing, fine, exact) for channel in image]) if fine else image


def _filled(channel: np.ndarray, missing: np.ndarray, levels: list[_Level], exact: float) -> np.ndarray:
    """One channel, by solutions in float32 of what is left in float64: in small arrays four times as fast as at once."""
    scale = np.ptp(channel[~missing])
    found = np.where(missing, channel[~missing].mean(), channel)
    if scale == 0:
        return found
    diagonal = _spread(np.ones(missing.shape))
    for _ in range(_MOST):
        left = missing * (_spread(found) - diagonal * found) / scale
        more = scale * _solved(levels, left.astype(np.float32)).astype(np.float64)
        found += more
        if _ROUGH * np.abs(more).max() <= exact * scale:
            return found
    raise ArithmeticError(f"the imputation did not settle in {_MOST} rounds")


def _solved(levels: list[_Level], right: np.ndarray) -> np.ndarray:
    """Conjugate gradients; the residual after a multigrid cycle is about the error that is left."""
    found, residual = np.zeros_like(right), right
    z = _cycle(levels, residual)
    exact = _ROUGH * np.abs(z).max()
    way, rz = z, np.vdot(residual, z)
    for _ in range(_MOST):
        if rz <= 0 or np.abs(z).max() <= exact:
            break
        image = _applied(levels[0], way)
        length = rz / np.vdot(way, image)
        found = found + length * way
        residual = residual - length * image
        z = _cycle(levels, residual)
        rz, before = np.vdot(residual, z), rz
        way = z + (rz / before) * way
    return found


def _levels(missing: np.ndarray) -> list[_Level]:
    """The grid and ever coarser ones, where a cell is missing if all of its four are; none where nothing is missing."""
    levels = []
    while missing.any():
        diagonal = _spread(np.ones(missing.shape, np.float32))
        itself = np.maximum(diagonal - np.float32(_ITSELF), np.finfo(np.float32).tiny)
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
        found += _finer(_cycle(levels[1:], left), (right.shape[0], right.shape[1])) * level.missing
    found += level.step * (right - _applied(level, found))
    return found


def _finer(a: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bilinear interpolation to twice the grid, of `size`."""
    return _doubled(_doubled(a, size[0]).T, size[1]).T


def _doubled(a: np.ndarray, size: int) -> np.ndarray:
    """Twice the rows, or one fewer: each 3/4 of its own and 1/4 of the one that it lies nearer to."""
    out = np.empty((size, a.shape[1]), a.dtype)
    near, quarter = 0.75 * a, 0.25 * a
    even, odd = out[::2], out[1::2]
    even[0] = a[0]
    np.add(near[1:], quarter[:-1], out=even[1:])
    np.add(near[: len(odd)], np.concatenate([quarter[1:], quarter[-1:]])[: len(odd)], out=odd)
    return out


def _coarser(a: np.ndarray) -> np.ndarray:
    """What `_finer` takes of each cell: its transpose."""
    return _halved(_halved(a).T).T


def _halved(a: np.ndarray) -> np.ndarray:
    even, odd = a[::2], a[1::2]
    out = 0.75 * even
    out[: len(odd)] += 0.75 * odd
    out[:-1] += 0.25 * even[1:]
    out[0] += 0.25 * even[0]
    out[1:] += 0.25 * odd[: len(out) - 1]
    if len(odd) == len(out):
        out[-1] += 0.25 * odd[-1]
    return out
