"""The perturbation methods once more, from their papers: slow, in float64, one image (h, w, c) at a time.

Segmentation is scikit-image's own in both; draws are those that the docstrings name: `default_rng([random_state, k])`.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from math import comb, factorial

import numpy as np
from scipy import ndimage
from scipy.stats import qmc
from skimage.morphology import disk
from skimage.segmentation import felzenszwalb, slic

import paper
from paper import Net, bilinear, gradient

KNOWN: dict[tuple[int, bytes], np.ndarray] = {}  # two classes, and many coalitions, ask for the same pictures


def scores(net: Net, x: np.ndarray) -> np.ndarray:
    key = (id(net), x.tobytes())
    if key not in KNOWN:
        KNOWN[key] = paper.scores(net, x)
    return KNOWN[key]


def unit(x: np.ndarray) -> np.ndarray:
    return (x - x.min()) / (x.max() - x.min())


def segments_of(x: np.ndarray, count: int, kind: str = "slic") -> np.ndarray:
    if kind == "slic":
        found = slic(unit(x), n_segments=count, compactness=10, sigma=1, start_label=0)
    else:
        found = felzenszwalb(unit(x), scale=100, sigma=0.5, min_size=int(np.ceil(x.shape[0] * x.shape[1] / count)))
    assert sorted(np.unique(found)) == list(range(found.max() + 1))
    return found


def play(net: Net, x: np.ndarray, baseline: np.ndarray, c: int, labels: np.ndarray, keep: set[int]) -> float:
    """The game: the score with only the superpixels of `keep` there."""
    image = baseline.copy()
    for j in keep:
        image[labels == j] = x[labels == j]
    return float(scores(net, image)[c])


def paint(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    out = np.zeros(labels.shape)
    for i, j in np.ndindex(*labels.shape):
        out[i, j] = values[labels[i, j]]
    return out


def occlusion(
    net: Net, x: np.ndarray, c: int, baseline: np.ndarray, window: tuple[int, int], stride: tuple[int, int]
) -> np.ndarray:
    h, w = x.shape[:2]
    total, covered = np.zeros((h, w)), np.zeros((h, w))
    tops = [t for t in range(0, h, stride[0]) if t == 0 or t - stride[0] + window[0] < h]
    lefts = [t for t in range(0, w, stride[1]) if t == 0 or t - stride[1] + window[1] < w]
    for top in tops:
        for left in lefts:
            there = (slice(top, top + window[0]), slice(left, left + window[1]))
            image = x.copy()
            image[there] = baseline[there]
            total[there] += scores(net, x)[c] - scores(net, image)[c]
            covered[there] += 1
    return total / covered


def superpixel_ablation(
    net: Net, x: np.ndarray, c: int, baseline: np.ndarray, count: int, kind: str = "slic"
) -> np.ndarray:
    labels = segments_of(x, count, kind)
    every = set(range(labels.max() + 1))
    whole = play(net, x, baseline, c, labels, every)
    return paint(np.array([whole - play(net, x, baseline, c, labels, every - {j}) for j in every]), labels)


def rise_mask(k: int, size: tuple[int, int], cells: int, keep: float, random_state: int) -> np.ndarray:
    rng = np.random.default_rng([random_state, k])
    grid = np.where(rng.random((cells, cells)) < keep, 1.0, 0.0)
    cell_h, cell_w = int(np.ceil(size[0] / cells)), int(np.ceil(size[1] / cells))
    large = bilinear(grid, ((cells + 1) * cell_h, (cells + 1) * cell_w))
    down, right = rng.integers(cell_h), rng.integers(cell_w)
    return large[down : down + size[0], right : right + size[1]]


def rise(
    net: Net, x: np.ndarray, c: int, baseline: np.ndarray, cells: int, keep: float, samples: int, random_state: int
) -> np.ndarray:
    masks = [rise_mask(k, x.shape[:2], cells, keep, random_state) for k in range(samples)]
    found = [scores(net, x * mask[:, :, None] + baseline * (1 - mask[:, :, None]))[c] for mask in masks]
    total = sum((score - np.mean(found)) * mask for score, mask in zip(found, masks))
    return np.asarray(total) / (samples * keep)


def lime(
    net: Net, x: np.ndarray, c: int, baseline: np.ndarray, count: int, samples: int, random_state: int,
    width: float = 0.25, ridge: float = 1.0,
) -> np.ndarray:  # fmt: skip
    """Least squares of stacked rows: the samples times the root of their weights, then the penalty."""
    labels = segments_of(x, count)
    d = int(labels.max()) + 1
    rows, targets = [], []
    for k in range(samples):
        z = np.ones(d) if k == 0 else (np.random.default_rng([random_state, k]).random(d) < 0.5).astype(float)
        cosine = z.sum() / (np.sqrt(z.sum()) * np.sqrt(d)) if z.any() else 0.0
        weight = np.exp(-((1 - cosine) ** 2) / width**2)
        rows.append(np.sqrt(weight) * np.array([1.0, *z]))
        targets.append(np.sqrt(weight) * play(net, x, baseline, c, labels, set(np.flatnonzero(z))))
    for j in range(d):
        rows.append(np.sqrt(ridge) * np.eye(d + 1)[j + 1])
        targets.append(0.0)
    return paint(np.linalg.lstsq(np.array(rows), np.array(targets), rcond=None)[0][1:], labels)


def shapley_values(game: Callable[[set[int]], float], d: int) -> np.ndarray:
    """By definition: over all coalitions without the player."""
    phi = np.zeros(d)
    for i in range(d):
        for size in range(d):
            for others in combinations([j for j in range(d) if j != i], size):
                weight = factorial(size) * factorial(d - size - 1) / factorial(d)
                phi[i] += weight * (game({*others, i}) - game({*others}))
    return phi


def shapley(net: Net, x: np.ndarray, c: int, baseline: np.ndarray, count: int) -> np.ndarray:
    labels = segments_of(x, count)
    return paint(shapley_values(lambda s: play(net, x, baseline, c, labels, s), int(labels.max()) + 1), labels)


def kernel_shap(
    net: Net, x: np.ndarray, c: int, baseline: np.ndarray, count: int, samples: int, random_state: int
) -> np.ndarray:
    """Equation 8 over drawn pairs of coalitions; the constraint by a Lagrange multiplier."""
    labels = segments_of(x, count)
    d = int(labels.max()) + 1
    assert 2**d - 2 > samples
    assert samples % 2 == 0
    none, whole = (play(net, x, baseline, c, labels, s) for s in (set(), set(range(d))))
    kernel = {s: (d - 1) / (comb(d, s) * s * (d - s)) for s in range(1, d)}
    shares = {s: kernel[s] * comb(d, s) for s in kernel}
    matrix, right = np.zeros((d + 1, d + 1)), np.zeros(d + 1)
    matrix[d, :d] = matrix[:d, d] = 1
    right[d] = whole - none
    for k in range(samples // 2):
        rng = np.random.default_rng([random_state, k])
        draw, size, below = rng.random() * sum(shares.values()), 1, shares[1]
        while draw >= below:
            size += 1
            below += shares[size]
        chosen = set(np.argsort(rng.random(d))[:size].tolist())
        for coalition in (chosen, set(range(d)) - chosen):
            z = np.array([float(j in coalition) for j in range(d)])
            matrix[:d, :d] += np.outer(z, z)
            right[:d] += z * (play(net, x, baseline, c, labels, coalition) - none)
    return paint(np.linalg.solve(matrix, right)[:d], labels)


def shapley_sampling(
    net: Net, x: np.ndarray, c: int, baseline: np.ndarray, count: int, samples: int, random_state: int
) -> np.ndarray:
    labels = segments_of(x, count)
    d = int(labels.max()) + 1
    phi = np.zeros(d)
    for k in range(samples):
        there: set[int] = set()
        for j in np.argsort(np.random.default_rng([random_state, k]).random(d)).tolist():
            before = play(net, x, baseline, c, labels, there)
            there = there | {j}
            phi[j] += (play(net, x, baseline, c, labels, there) - before) / samples
    return paint(phi, labels)


def faded(x: np.ndarray, baseline: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """The image whose cells are kept by `grid` (cells, cells), each cell a block."""
    out = np.empty_like(x)
    for i, j in np.ndindex(*x.shape[:2]):
        m = grid[i * grid.shape[0] // x.shape[0], j * grid.shape[1] // x.shape[1]]
        out[i, j] = m * x[i, j] + (1 - m) * baseline[i, j]
    return out


def sobol(
    net: Net, x: np.ndarray, c: int, baseline: np.ndarray, cells: int, samples: int, random_state: int
) -> np.ndarray:
    d = cells * cells
    points = qmc.Sobol(2 * d, rng=np.random.default_rng(random_state)).random(samples)
    a, b = points[:, :d], points[:, d:]

    def f(m: np.ndarray) -> float:
        return float(scores(net, faded(x, baseline, m.reshape(cells, cells)))[c])

    of_a = np.array([f(m) for m in a])
    mean = of_a.sum() / samples
    variance = ((of_a - mean) ** 2).sum() / (samples - 1)
    out = np.zeros(d)
    for i in range(d):
        for j in range(samples):
            mixed = a[j].copy()
            mixed[i] = b[j, i]
            out[i] += (of_a[j] - f(mixed)) ** 2 / (2 * samples * variance)
    return out.reshape(cells, cells)


def hsic(
    net: Net, x: np.ndarray, c: int, baseline: np.ndarray, cells: int, samples: int, random_state: int
) -> np.ndarray:
    d = cells * cells
    masks = [(np.random.default_rng([random_state, k]).random(d) < 0.5).astype(float) for k in range(samples)]
    y = [float(scores(net, faded(x, baseline, m.reshape(cells, cells)))[c]) for m in masks]
    width = np.median([abs(y[i] - y[j]) for i in range(samples) for j in range(i)])
    centre = np.eye(samples) - 1 / samples
    outputs = np.array([[np.exp(-((p - q) ** 2) / (2 * width**2)) for p in y] for q in y])
    out = np.zeros(d)
    for i in range(d):
        alike = np.array([[float(p[i] == q[i]) for p in masks] for q in masks])
        out[i] = np.trace(alike @ centre @ outputs @ centre) / (samples - 1) ** 2
    return out.reshape(cells, cells)


def enlarge_back(slope: np.ndarray, cells: int) -> np.ndarray:
    """The gradient with respect to a grid, of one with respect to its bilinear enlargement: cell by cell."""
    out = np.zeros((cells, cells))
    for i, j in np.ndindex(cells, cells):
        one = np.zeros((cells, cells))
        one[i, j] = 1
        out[i, j] = (bilinear(one, slope.shape) * slope).sum()
    return out


class Optimised:
    """Share of the score that a grid keeps, its slope, and Adam."""

    def __init__(self, net: Net, x: np.ndarray, c: int, baseline: np.ndarray) -> None:
        self.net, self.x, self.c, self.baseline = net, x, c, baseline
        self.whole, self.none = scores(net, x)[c], scores(net, baseline)[c]

    def blended(self, grid: np.ndarray) -> np.ndarray:
        m = bilinear(grid, self.x.shape[:2])[:, :, None]
        return self.x * m + self.baseline * (1 - m)

    def share(self, grid: np.ndarray) -> float:
        return float((scores(self.net, self.blended(grid))[self.c] - self.none) / abs(self.whole - self.none))

    def slope(self, grid: np.ndarray) -> np.ndarray:
        g = (gradient(self.net, self.blended(grid), self.c) * (self.x - self.baseline)).sum(axis=2)
        return enlarge_back(g, grid.shape[0]) / abs(self.whole - self.none)

    @staticmethod
    def adam(values: np.ndarray, slope: Callable[[int, np.ndarray], np.ndarray], steps: int, rate: float) -> np.ndarray:
        m, v = np.zeros_like(values), np.zeros_like(values)
        for t in range(1, steps + 1):
            g = slope(t - 1, values)
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
            values = values - rate * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
            values = np.minimum(np.maximum(values, 0), 1)
        return values


def roughness(m: np.ndarray) -> float:
    return float((np.abs(np.diff(m, axis=0)) ** 3).sum() + (np.abs(np.diff(m, axis=1)) ** 3).sum())


def roughness_slope(m: np.ndarray) -> np.ndarray:
    out = np.zeros_like(m)
    for i, j in np.ndindex(*m.shape):
        for di, dj in ((0, 1), (1, 0), (0, -1), (-1, 0)):
            if 0 <= i + di < m.shape[0] and 0 <= j + dj < m.shape[1]:
                step = m[i, j] - m[i + di, j + dj]
                out[i, j] += 3 * step**2 * np.sign(step)
    return out


def meaningful_perturbation(
    net: Net, x: np.ndarray, c: int, baseline: np.ndarray, cells: int, steps: int,
    rate: float = 0.1, sparsity: float = 1e-3, smoothness: float = 1e-3,
) -> np.ndarray:  # fmt: skip
    game = Optimised(net, x, c, baseline)

    def slope(_: int, m: np.ndarray) -> np.ndarray:
        return game.slope(m) * (game.share(m) > 0) - sparsity + smoothness * roughness_slope(m)

    return 1 - game.adam(np.ones((cells, cells)), slope, steps, rate)


def bumps(seeds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Smooth maximum over the neighbours of a cell of seed times nearness, and its derivative (cell, seed)."""
    cells = seeds.shape[0]
    sigma = 21 / 224 * cells
    reach = int(np.ceil(2 * sigma))
    masks, derivative = np.zeros((cells, cells)), np.zeros((cells, cells, cells, cells))
    for i, j in np.ndindex(cells, cells):
        terms = []
        for p in range(i - reach, i + reach + 1):
            for q in range(j - reach, j + reach + 1):
                near = np.exp(-2 * max(np.hypot(p - i, q - j) / sigma - 0.5, 0) ** 2)
                inside = 0 <= p < cells and 0 <= q < cells
                terms.append((p, q, near if inside else 0.0, near * seeds[p, q] if inside else 0.0))
        values = np.array([t[3] for t in terms])
        weights = np.exp(20 * values) / np.exp(20 * values).sum()
        masks[i, j] = (weights * values).sum()
        for (p, q, near, value), weight in zip(terms, weights):
            if near:
                derivative[i, j, p, q] = weight * (1 + 20 * (value - masks[i, j])) * near
    return masks, derivative


def extremal_perturbation(
    net: Net, x: np.ndarray, c: int, baseline: np.ndarray, area: float, cells: int, steps: int, rate: float = 0.05
) -> np.ndarray:
    game = Optimised(net, x, c, baseline)

    def slope(t: int, seeds: np.ndarray) -> np.ndarray:
        masks, derivative = bumps(seeds)
        flat = masks.round(6).ravel()
        order, rank = np.sort(flat), np.zeros(cells * cells)
        for i, value in enumerate(flat):  # the reference vector, shared alike by like values
            places = np.flatnonzero(order == value)
            above = [min(max(place + 1 - cells**2 * (1 - area), 0), 1) for place in places]
            rank[i] = np.mean(above)
        weight = 3 * 100 ** (t / max(1, steps - 1))
        pull = 2 * weight / cells**2 * (masks - rank.reshape(cells, cells)) - game.slope(masks)
        return np.einsum("ij,ijpq->pq", pull, derivative)

    return bumps(game.adam(np.ones((cells, cells)), slope, steps, rate))[0] if steps else np.ones((cells, cells))


def xrai(attribution: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Algorithm 1, with every region's gain counted anew at each step."""
    h, w = x.shape[:2]
    edge = round(5 / 224 * min(h, w))
    regions = []
    for scale in (50, 100, 150, 250, 500, 1200):
        labels = felzenszwalb(2 * unit(x) - 1, scale=scale, sigma=0.8, min_size=max(1, round(150 / 224**2 * h * w)))
        for j in range(labels.max() + 1):
            regions.append(ndimage.binary_dilation(labels == j, disk(edge)) if edge else labels == j)
    out, taken = np.zeros((h, w)), np.zeros((h, w), bool)
    while not taken.all():
        gains = [attribution[r & ~taken].mean() if (r & ~taken).any() else -np.inf for r in regions]
        best = int(np.argmax(gains))
        out[regions[best] & ~taken] = gains[best]
        taken |= regions[best]
    return out
