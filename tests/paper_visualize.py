"""One step of the ascent once more: every wave laid out and every derivative written down, in NumPy."""

from __future__ import annotations

import numpy as np

OPPONENT = ((1, 1, 1), (1, 0, -1), (1, -2, 1))  # brightness, red against blue, green against both
SPREAD = (1.0, 0.4, 0.2)


def wave(size: int, k: int) -> np.ndarray:
    """Wave k of 1, cos 1, sin 1, cos 2, ..., of length 1."""
    if k == 0:
        values = np.ones(size)
    else:
        turn = np.cos if k % 2 else np.sin
        values = np.array([turn(2 * np.pi * ((k + 1) // 2) * t / size) for t in range(size)])
    return values / np.linalg.norm(values)


def factors(height: int, width: int) -> np.ndarray:
    found = np.empty((height, width))
    for i, j in np.ndindex(height, width):
        cycles = np.sqrt(((i + 1) // 2 / height) ** 2 + ((j + 1) // 2 / width) ** 2)
        found[i, j] = 1 / max(cycles, 1 / max(height, width))
    return found / np.sqrt((found**2).mean())


def colours() -> np.ndarray:
    """(RGB, axes)."""
    columns = [s * np.array(axis) / np.linalg.norm(axis) for s, axis in zip(SPREAD, OPPONENT)]
    return np.stack(columns, axis=1) * np.sqrt(3 / sum(s**2 for s in SPREAD))


def pixels(z: np.ndarray) -> np.ndarray:
    """Pixels (h, w, 3) in 0..1 of the numbers z (3, h, w)."""
    _, height, width = z.shape
    planes, scale = np.zeros((3, height, width)), factors(height, width)
    for i, j in np.ndindex(height, width):
        planes += (z[:, i, j] * scale[i, j])[:, None, None] * np.outer(wave(height, i), wave(width, j))
    mixed = np.einsum("ra,ahw->hwr", colours(), planes)
    return 1 / (1 + np.exp(-mixed))


def back(g: np.ndarray, p: np.ndarray) -> np.ndarray:
    """The gradient at the numbers, of what has the gradient g (h, w, 3) at the pixels p."""
    height, width, _ = p.shape
    planes = np.einsum("ra,hwr->ahw", colours(), g * p * (1 - p))
    found, scale = np.empty((3, height, width)), factors(height, width)
    for i, j in np.ndindex(height, width):
        found[:, i, j] = scale[i, j] * np.sum(planes * np.outer(wave(height, i), wave(width, j)), axis=(1, 2))
    return found


def penalty(p: np.ndarray, variation: float, l2: float) -> float:
    rows, columns = np.diff(p, axis=0), np.diff(p, axis=1)
    return variation * float((rows**2).sum() + (columns**2).sum()) / p.size + l2 * float(((2 * p - 1) ** 2).mean())


def penalty_gradient(p: np.ndarray, variation: float, l2: float) -> np.ndarray:
    """By central differences, exact for squares."""
    found, step = np.empty_like(p), 0.5
    for index in np.ndindex(*p.shape):
        up, down = p.copy(), p.copy()
        up[index] += step
        down[index] -= step
        found[index] = (penalty(up, variation, l2) - penalty(down, variation, l2)) / (2 * step)
    return found
