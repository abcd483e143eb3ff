"""How alike two maps are: Spearman, SSIM, and their histograms of gradients."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

Similarity = Literal["spearman", "spearman-absolute", "ssim", "hog"]
SIMILARITIES: tuple[Similarity, ...] = get_args(Similarity)
_WINDOW, _CELL = 7, 16  # pixels: of SSIM (Wang et al. 2004); of HOG (Adebayo et al. 2018)


def alike(similarity: Similarity, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The similarity of each map (n, h, w) to its counterpart: (n,), 1 for the same, about 0 for what has no relation.

    "spearman": rank correlation of the pixels, ties by their mean rank; "spearman-absolute": of their absolute values;
    "ssim": mean structural similarity, each map divided by its largest absolute value; "hog": correlation of the
    histograms of oriented gradients. NaN where a map is the same everywhere or not finite, which has no ranks.
    """
    measure = {"spearman": _spearman, "spearman-absolute": _absolute, "ssim": _ssim, "hog": _hog}[similarity]
    return np.array([measure(a, b) if _usable(a) and _usable(b) else np.nan for a, b in zip(first, second)])


def _usable(a: np.ndarray) -> bool:
    return bool(np.isfinite(a).all() and a.min() < a.max())


def _spearman(a: np.ndarray, b: np.ndarray) -> float:
    from scipy.stats import rankdata

    return _pearson(rankdata(a.ravel()), rankdata(b.ravel()))


def _absolute(a: np.ndarray, b: np.ndarray) -> float:
    return _spearman(np.abs(a), np.abs(b))


def _ssim(a: np.ndarray, b: np.ndarray) -> float:
    from skimage.metrics import structural_similarity

    side = min(_WINDOW, *a.shape)
    a, b = (each / np.abs(each).max() for each in (a, b))
    return float(structural_similarity(a, b, win_size=side - (side % 2 == 0), data_range=2.0))


def _hog(a: np.ndarray, b: np.ndarray) -> float:
    from skimage.feature import hog

    cell = max(1, min(_CELL, min(a.shape) // 3))  # three cells a block are the least
    return _pearson(*(hog(each / np.abs(each).max(), pixels_per_cell=(cell, cell)) for each in (a, b)))


def _pearson(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(), b - b.mean()
    size = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / size) if size else np.nan
