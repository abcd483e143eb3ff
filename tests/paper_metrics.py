"""The metrics of faithfulness once more, from their papers: slow, in float64, one image (h, w, c) and map (h, w) at a time.

`f` is the score or the probability of one image; `baseline` what stands in the place of what is removed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

Score = Callable[[np.ndarray], float]


def order(m: np.ndarray) -> list[tuple[int, int]]:
    """The pixels, the most relevant first; of equal ones the first in rows."""
    places = [(i, j) for i in range(m.shape[0]) for j in range(m.shape[1])]
    return sorted(places, key=lambda p: -m[p])


def steps_of(pixels: int, steps: int) -> list[int]:
    return [round(k * pixels / min(steps, pixels)) for k in range(min(steps, pixels) + 1)]


def removal(f: Score, image: np.ndarray, baseline: np.ndarray, m: np.ndarray, steps: int) -> list[float]:
    curve = []
    for count in steps_of(m.size, steps):
        changed = image.copy()
        for place in order(m)[:count]:
            changed[place] = baseline[place]
        curve.append(f(changed))
    return curve


def addition(f: Score, image: np.ndarray, baseline: np.ndarray, m: np.ndarray, steps: int) -> list[float]:
    return removal(f, baseline, image, m, steps)


def trapezoids(curve: Sequence[float]) -> float:
    return sum((a + b) / 2 for a, b in pairwise(curve)) / (len(curve) - 1)


def relative_fall(curve: Sequence[float]) -> float:
    return trapezoids([(curve[0] - value) / abs(curve[0]) for value in curve])


def regions_removed(
    f: Score, image: np.ndarray, baseline: np.ndarray, regions: Sequence[np.ndarray], worth: Sequence[float]
) -> list[float]:
    """The curve while regions (h, w) are replaced one after the other, the first of equal worth first."""
    changed, curve = image.copy(), [f(image)]
    for k in sorted(range(len(regions)), key=lambda k: -worth[k]):
        changed = np.where(regions[k][..., None], baseline, changed)
        curve.append(f(changed))
    return curve


def squares(size: tuple[int, int], side: int) -> list[np.ndarray]:
    found = []
    for top in range(0, size[0], side):
        for left in range(0, size[1], side):
            mask = np.zeros(size, bool)
            mask[top : top + side, left : left + side] = True
            found.append(mask)
    return found


def region_perturbation(
    f: Score, image: np.ndarray, baseline: np.ndarray, m: np.ndarray, side: int, steps: int
) -> float:
    each = squares(m.shape, side)
    curve = regions_removed(f, image, baseline, each, [m[s].sum() for s in each])[: steps + 1]
    return sum(curve[0] - value for value in curve) / len(curve)


def irof(f: Score, image: np.ndarray, baseline: np.ndarray, m: np.ndarray, labels: np.ndarray) -> float:
    each = [labels == label for label in range(labels.max() + 1)]
    return relative_fall(regions_removed(f, image, baseline, each, [m[s].mean() for s in each]))


def imputed(image: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Rong et al.'s linear system, solved directly: a pixel is the weighted mean of the neighbours that are there."""
    places = [tuple(p) for p in np.argwhere(missing)]
    if not places:
        return image
    left, right = np.zeros((len(places), len(places))), np.zeros((len(places), image.shape[2]))
    for row, (i, j) in enumerate(places):
        for di in (-1, 0, 1):
            for dj in (-1, 0, 1):
                there = (i + di, j + dj)
                if (di, dj) == (0, 0) or not (0 <= there[0] < missing.shape[0] and 0 <= there[1] < missing.shape[1]):
                    continue
                weight = 1 / 6 if 0 in (di, dj) else 1 / 12
                left[row, row] += weight
                if missing[there]:
                    left[row, places.index(there)] -= weight
                else:
                    right[row] += weight * image[there]
    out = image.copy()
    out[missing] = np.linalg.solve(left, right)
    return out


def road(f: Score, image: np.ndarray, m: np.ndarray, steps: int, noises: Sequence[np.ndarray]) -> float:
    """`noises`: what is added to the imputed pixels at each step, (h, w, c)."""
    total, pixels = 0.0, order(m)
    for k in range(steps):
        count = m.size * (k + 1) // (steps + 1)
        scores = []
        for gone in (pixels[:count], pixels[m.size - count :]):
            missing = np.zeros(m.shape, bool)
            for place in gone:
                missing[place] = True
            scores.append(f(imputed(image, missing) + noises[k] * missing[..., None]))
        total += (scores[1] - scores[0]) / 2
    return total / steps


def ranks(values: np.ndarray) -> np.ndarray:
    return np.array([(values < v).sum() + ((values == v).sum() + 1) / 2 for v in values])


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / math.sqrt((a**2).sum() * (b**2).sum()))


def mu_fidelity(
    f: Score, image: np.ndarray, baseline: np.ndarray, m: np.ndarray, subsets: Sequence[np.ndarray], spearman: bool
) -> float:
    sums = np.array([sum(m[tuple(p)] for p in np.argwhere(s)) for s in subsets])
    falls = np.array([f(image) - f(np.where(s[..., None], baseline, image)) for s in subsets])
    return correlation(ranks(sums), ranks(falls)) if spearman else correlation(sums, falls)


def infidelity(
    f: Score, image: np.ndarray, slopes: np.ndarray, perturbations: Sequence[np.ndarray], best: bool
) -> float:
    """`slopes` (h, w, c): what a unit of each value is worth."""
    forecasts = [float((i * slopes).sum()) for i in perturbations]
    falls = [f(image) - f(image - i) for i in perturbations]
    beta = sum(a * b for a, b in zip(forecasts, falls)) / sum(a * a for a in forecasts) if best else 1.0
    return float(np.mean([(beta * a - b) ** 2 for a, b in zip(forecasts, falls)]))


def shown(m: np.ndarray, masking: str) -> np.ndarray:
    if masking == "multiplied":
        return np.maximum(m, 0) / m.max()
    mask = np.zeros(m.shape)
    for place in order(m)[: math.ceil(m.size / 2)]:
        mask[place] = 1
    return mask


def masked(image: np.ndarray, baseline: np.ndarray, shares: np.ndarray) -> np.ndarray:
    return baseline + shares[..., None] * (image - baseline)


def average_drop(y: float, o: float) -> float:
    return max(0.0, y - o) / y


def average_increase(y: float, o: float) -> float:
    return float(o > y)


def average_gain(y: float, o: float) -> float:
    return max(0.0, o - y) / (1 - y)


def adcc(
    f: Score, image: np.ndarray, baseline: np.ndarray, m: np.ndarray, explain: Callable[[np.ndarray], np.ndarray]
) -> float:
    shares = shown(m, "multiplied")
    part = masked(image, baseline, shares)
    coherency = (1 + correlation(shares.ravel(), shown(explain(part), "multiplied").ravel())) / 2
    complexity = np.abs(shares).sum() / shares.size
    return 3 / (1 / coherency + 1 / (1 - complexity) + 1 / (1 - average_drop(f(image), f(part))))


def completeness(f: Score, image: np.ndarray, baseline: np.ndarray, attribution: np.ndarray) -> float:
    change = f(image) - f(baseline)
    return abs(attribution.sum() - change) / abs(change)


def information(
    f: Score,
    image: np.ndarray,
    baseline: np.ndarray,
    m: np.ndarray,
    shares: Sequence[float],
    size: Callable[[np.ndarray], int],
) -> float:
    """Area under the performance information curve by a thousand and one points; `size` in bytes."""
    points = []
    for share in (0, *shares, 1):
        part = baseline.copy()
        for place in order(m)[: round(share * m.size)]:
            part[place] = image[place]
        points.append((size(part), f(part)))
    (low, worst), (high, best) = points[0], points[-1]
    if high <= low or best <= worst:
        return math.nan
    curve, highest = [], 0.0
    for told, score in points:
        highest = max(highest, min(max((score - worst) / (best - worst), 0), 1))
        curve.append((min(max((told - low) / (high - low), 0), 1), highest))
    curve.sort(key=lambda point: point[0])
    return trapezoids(np.interp(np.linspace(0, 1, 101), [p[0] for p in curve], [p[1] for p in curve]))
