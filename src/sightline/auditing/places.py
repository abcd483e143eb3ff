"""Where the attention of maps lies: inside masks, on the border, in the corners."""

from __future__ import annotations

import numpy as np

BORDER, CORNER = 0.1, 0.2  # of the shorter side: how wide the frame is, how long the sides of a corner


def attention(maps: np.ndarray) -> np.ndarray:
    """Each map's positive values in shares of their sum, (n, h, w); NaN where there are none."""
    positive = np.maximum(maps, 0).astype(np.float64)
    total = positive.sum(axis=(1, 2), keepdims=True)
    return np.asarray(np.divide(positive, total, out=np.full_like(positive, np.nan), where=total > 0))


def share_inside(shares: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Of each map the share inside of its mask, or of the one mask for all, (n,); NaN for an empty mask."""
    inside = (shares * masks).sum(axis=(1, 2))
    return np.asarray(np.where(masks.any(axis=(-2, -1)), inside, np.nan))


def border(height: int, width: int) -> np.ndarray:
    """The frame of a picture, a tenth of its shorter side wide: (height, width) bool."""
    wide = max(1, round(BORDER * min(height, width)))
    frame = np.ones((height, width), bool)
    frame[wide : height - wide, wide : width - wide] = False
    return frame


def corners(height: int, width: int) -> np.ndarray:
    """The four squares in the corners, a fifth of the shorter side long: (height, width) bool."""
    side = max(1, round(CORNER * min(height, width)))
    found = np.zeros((height, width), bool)
    for rows in (slice(None, side), slice(height - side, None)):
        for columns in (slice(None, side), slice(width - side, None)):
            found[rows, columns] = True
    return found
