"""A picture written as numbers that a gradient can climb: its spectrum, decorrelated colours, the range of pixels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from sightline.arrays import Array, like, namespace, transposed
from sightline.preprocessing import Preprocessing

_OPPONENT = np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]]) / np.sqrt([[3], [2], [6]])
_SPREAD = np.array([1.0, 0.4, 0.2])  # about how far photographs spread along these axes


@dataclass(frozen=True)
class Canvas:
    """What turns numbers z (1, c, h, w) into pixels and into a model's input, and a gradient there back.

    Pixels p = sigmoid(M rows^T (scale * z) columns), each in 0..1 of the range from black to white, with the real
    Fourier bases `rows` and `columns` and the mixing of colours M. The input is low + p (high - low), so that no value
    is one which no picture could have.
    """

    rows: Array
    columns: Array
    scale: Array
    colours: Array
    low: Array
    span: Array
    channel: int

    def pixels(self, z: Array) -> Array:
        """Pixels (1, c, h, w) in 0..1, channels in the model's order."""
        xp = namespace(z)
        waves = xp.matmul(xp.matmul(transposed(self.rows), self.scale * z), self.columns)
        return 1 / (1 + xp.exp(-_mixed(waves, self.colours)))

    def back(self, g: Array, p: Array) -> Array:
        """The gradient at the numbers, of what has the gradient `g` at the pixels `p`."""
        xp = namespace(g)
        waves = _mixed(g * p * (1 - p), transposed(self.colours))
        return self.scale * xp.matmul(xp.matmul(self.rows, waves), transposed(self.columns))

    def shown(self, p: Array) -> Array:
        """The model's input of pixels."""
        return namespace(p).moveaxis(self.low + p * self.span, 1, self.channel)

    def at_pixels(self, g: Array) -> Array:
        """A gradient at the model's input, as one at the pixels."""
        return namespace(g).moveaxis(g, self.channel, 1) * self.span


def canvas(x: Array, pre: Preprocessing, channel: int, *, fourier: bool, decorrelate: bool) -> Canvas:
    """The canvas of inputs such as `x` (1, ...): `fourier` numbers, or a number for each pixel."""
    height, width = (side for axis, side in enumerate(x.shape[1:]) if axis - 3 != channel)
    basis = real_fourier if fourier else np.eye
    arrays = {
        "rows": basis(height),
        "columns": basis(width),
        "scale": spectrum(height, width) if fourier else np.ones((height, width)),
        "colours": _colours(pre, decorrelate),
        "low": _per_channel(pre, 0),
        "span": _per_channel(pre, 255) - _per_channel(pre, 0),
    }
    return Canvas(**{name: like(np.ascontiguousarray(a), x) for name, a in arrays.items()}, channel=channel)


@cache
def real_fourier(size: int) -> np.ndarray:
    """(size, size): the orthonormal cosines and sines of 0, 1, 1, 2, 2, ... periods, a row each."""
    periods = _periods(size)
    at = 2 * np.pi * periods[:, None] * np.arange(size) / size
    waves = np.where((np.arange(size) % 2 == 1)[:, None] | (periods == 0)[:, None], np.cos(at), np.sin(at))
    return np.asarray(waves / np.sqrt((waves**2).sum(axis=1, keepdims=True)))


def spectrum(height: int, width: int) -> np.ndarray:
    """(height, width) factors that fall as one over the frequency, as the spectra of photographs do; of mean square 1."""
    frequency = np.hypot(_periods(height)[:, None] / height, _periods(width) / width)
    factors = 1 / np.maximum(frequency, 1 / max(height, width))
    return np.asarray(factors / np.sqrt((factors**2).mean()))


def _periods(size: int) -> np.ndarray:
    return (np.arange(size) + 1) // 2


def _colours(pre: Preprocessing, decorrelate: bool) -> np.ndarray:
    """(c, c): brightness and two opponent colours, as strong as in photographs, mixed to the model's channels."""
    if pre.channels != 3 or not decorrelate:
        return np.eye(pre.channels)
    mixed = _OPPONENT.T * _SPREAD * np.sqrt(3 / (_SPREAD**2).sum())
    return np.asarray(mixed[::-1] if pre.order == "bgr" else mixed)


def _per_channel(pre: Preprocessing, pixel: int) -> np.ndarray:
    return pre.value_of(pixel).astype(np.float64)[:, None, None]


def _mixed(a: Array, matrix: Array) -> Array:
    """The channels of `a` (1, c, h, w) mixed by `matrix` (c, c)."""
    xp = namespace(a)
    flat = xp.matmul(matrix, xp.reshape(a, (*a.shape[:2], -1)))
    return xp.reshape(flat, a.shape)
