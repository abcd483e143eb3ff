"""The control methods once more, pixel by pixel."""

from __future__ import annotations

import math

import numpy as np

SOBEL = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 8


def random(shape: tuple[int, int], random_state: int) -> np.ndarray:
    draws = iter(np.random.default_rng(random_state).uniform(size=shape[0] * shape[1]))
    return np.array([[next(draws) for _ in range(shape[1])] for _ in range(shape[0])])


def gaussian(shape: tuple[int, int], width: float) -> np.ndarray:
    out = np.zeros(shape)
    for i, j in np.ndindex(*shape):
        down, across = (i - (shape[0] - 1) / 2) / shape[0], (j - (shape[1] - 1) / 2) / shape[1]
        out[i, j] = math.exp(-(down**2 + across**2) / (2 * width**2))
    return out


def edges(x: np.ndarray) -> np.ndarray:
    h, w, channels = x.shape
    out = np.zeros((h, w))
    for i, j in np.ndindex(h, w):
        across = down = 0.0
        for di, dj in np.ndindex(3, 3):
            row, column = min(max(i + di - 1, 0), h - 1), min(max(j + dj - 1, 0), w - 1)
            grey = sum(x[row, column]) / channels
            across, down = across + SOBEL[di, dj] * grey, down + SOBEL[dj, di] * grey
        out[i, j] = math.sqrt(across**2 + down**2)
    return out
