"""What the metrics of localisation share: which pixels a map puts first, where several have one value."""

from __future__ import annotations

import numpy as np


def share_of_first(maps: np.ndarray, counts: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """The share of each image's `counts` highest pixels that lie inside its mask: (n,).

    Of the pixels that tie for the last places each has the same chance: this is the mean over all ways to break them.
    """
    return np.array([_share(m.ravel(), int(count), mask.ravel()) for m, count, mask in zip(maps, counts, masks)])


def _share(values: np.ndarray, count: int, inside: np.ndarray) -> float:
    if not count or not np.isfinite(values).all():
        return np.nan
    last = np.partition(values, -count)[-count]
    above, level = values > last, values == last
    taken = (count - above.sum()) / level.sum()
    return float(((above & inside).sum() + taken * (level & inside).sum()) / count)


def only_where(answered: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The values (n,), NaN for an image without an answer."""
    return np.where(answered, values, np.nan)


def has_object(masks: np.ndarray) -> np.ndarray:
    """Which of the masks (n, h, w) have a pixel: (n,)."""
    return np.asarray(masks.any(axis=(1, 2)))
