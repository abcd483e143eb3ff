"""The metrics of place, complexity, robustness and randomisation once more: slow, in float64, one map at a time."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
from skimage.feature import hog
from skimage.metrics import structural_similarity


def pointing_game(m: np.ndarray, mask: np.ndarray, tolerance: float) -> float:
    places = [tuple(p) for p in np.argwhere(mask)]
    peaks = [tuple(p) for p in np.argwhere(m == m.max())]
    hits = [min(math.dist(peak, p) for p in places) <= tolerance for peak in peaks] if places else []
    return sum(hits) / len(hits) if hits else math.nan


def top_k(m: np.ndarray, mask: np.ndarray, k: int) -> float:
    """The mean over every way to choose among the pixels that tie for the last places."""
    if not mask.any():
        return math.nan
    values, inside = m.ravel().tolist(), mask.ravel().tolist()
    last = sorted(values, reverse=True)[k - 1]
    sure = [i for i, v in enumerate(values) if v > last]
    tied = [i for i, v in enumerate(values) if v == last]
    ways = [sum(inside[i] for i in (*sure, *some)) for some in itertools.combinations(tied, k - len(sure))]
    return sum(ways) / len(ways) / k


def iou(m: np.ndarray, mask: np.ndarray, threshold: float) -> float:
    high = {tuple(p) for p in np.argwhere(m >= threshold)}
    there = {tuple(p) for p in np.argwhere(mask)}
    return len(high & there) / len(high | there)


def best_iou(m: np.ndarray, mask: np.ndarray) -> float:
    return max(iou(m, mask, t) for t in np.unique(m))


def auc(m: np.ndarray, mask: np.ndarray) -> float:
    pairs = [1.0 if a > b else 0.5 if a == b else 0.0 for a in m[mask] for b in m[~mask]]
    return sum(pairs) / len(pairs)


def complexity(m: np.ndarray) -> float:
    whole = sum(abs(v) for v in m.ravel())
    return -sum(abs(v) / whole * math.log(abs(v) / whole) for v in m.ravel() if v)


def gini(m: np.ndarray) -> float:
    """Half of the mean difference of any two, over the mean."""
    values = [abs(v) for v in m.ravel().tolist()]
    return sum(abs(a - b) for a in values for b in values) / (2 * len(values) * sum(values))


def draws(shape: tuple[int, ...], radius: float, samples: int, random_state: int) -> list[np.ndarray]:
    return [np.random.default_rng([random_state, k]).uniform(-radius, radius, shape) for k in range(samples)]


def sensitivity(explain: Callable[[np.ndarray], np.ndarray], x: np.ndarray, noise: list[np.ndarray]) -> list[float]:
    own = explain(x)
    return [math.sqrt(((explain(x + d) - own) ** 2).sum()) / math.sqrt((own**2).sum()) for d in noise]


def lipschitz(explain: Callable[[np.ndarray], np.ndarray], x: np.ndarray, noise: list[np.ndarray]) -> float:
    own = explain(x)
    return max(math.sqrt(((explain(x + d) - own) ** 2).sum()) / math.sqrt((d**2).sum()) for d in noise)


def ranks(values: np.ndarray) -> np.ndarray:
    flat = values.ravel()
    return np.array([(flat < v).sum() + ((flat == v).sum() + 1) / 2 for v in flat])


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(ranks(a), ranks(b))[0, 1])


def ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Wang et al. 2004, equation 13, over every window of 7 x 7; values reach from -1 to 1."""
    a, b = a / np.abs(a).max(), b / np.abs(b).max()
    c1, c2, found = (0.01 * 2) ** 2, (0.03 * 2) ** 2, []
    for i in range(a.shape[0] - 6):
        for j in range(a.shape[1] - 6):
            p, q = a[i : i + 7, j : j + 7], b[i : i + 7, j : j + 7]
            cov = np.cov(p.ravel(), q.ravel())
            means = p.mean(), q.mean()
            top = (2 * means[0] * means[1] + c1) * (2 * cov[0, 1] + c2)
            found.append(top / ((means[0] ** 2 + means[1] ** 2 + c1) * (cov[0, 0] + cov[1, 1] + c2)))
    return float(np.mean(found))


def hog_correlation(a: np.ndarray, b: np.ndarray, cell: int) -> float:
    first, second = (hog(m / np.abs(m).max(), pixels_per_cell=(cell, cell)) for m in (a, b))
    return float(np.corrcoef(first, second)[0, 1])


def library_ssim(a: np.ndarray, b: np.ndarray) -> float:
    return float(structural_similarity(a / np.abs(a).max(), b / np.abs(b).max(), data_range=2))
