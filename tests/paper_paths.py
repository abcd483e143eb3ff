"""The methods of gradients and paths once more, from their papers: slow NumPy in float64, one image at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from paper import BACKWARD, FORWARD, Net, backward, bilinear, forward, gradient, scores


def blurred(x: np.ndarray, sigma: float) -> np.ndarray:
    """A Gaussian over the picture, which goes on beyond its edges as in a mirror; sums over the plane, cut at 12 sigma."""
    if sigma == 0:
        return x.copy()
    out = x
    for axis in (0, 1):
        side, reach = x.shape[axis], int(12 * sigma) + 1
        moved = np.moveaxis(out, axis, 0)
        new = np.zeros_like(moved)
        for i in range(side):
            total = 0.0
            for j in range(i - reach, i + reach + 1):
                inside = j % (2 * side)
                weight = np.exp(-((i - j) ** 2) / (2 * sigma**2))
                new[i] += weight * moved[inside if inside < side else 2 * side - 1 - inside]
                total += weight
            new[i] /= total
        out = np.moveaxis(new, 0, axis)
    return out


def blur_integrated_gradients(net: Net, x: np.ndarray, target: int, steps: int, sigma: float) -> np.ndarray:
    found = np.zeros_like(x)
    for i in range(steps):
        before, middle, after = (blurred(x, sigma * (1 - t / steps)) for t in (i, i + 0.5, i + 1))
        found += gradient(net, middle, target) * (after - before)
    return found


def straight_path(x: np.ndarray, baseline: np.ndarray, steps: int) -> list[np.ndarray]:
    return [baseline + i / steps * (x - baseline) for i in range(steps + 1)]


def blur_path(x: np.ndarray, steps: int, sigma: float) -> list[np.ndarray]:
    return [blurred(x, sigma * (1 - i / steps)) for i in range(steps + 1)]


def guided_path(
    net: Net, x: np.ndarray, target: int, baseline: np.ndarray, steps: int, fraction: float, distance: float
) -> list[np.ndarray]:
    """Algorithm 1 of Kapishnikov et al., with the bound of their code in place of anchors: one value at a time."""
    way, now = (x - baseline).ravel(), baseline.astype(float).ravel()
    whole, path = np.abs(way).sum(), [baseline.copy()]
    for step in range(1, steps + 1):
        slope = np.abs(gradient(net, now.reshape(x.shape), target)).ravel()
        least = baseline.ravel() + max(step / steps - distance, 0) * way
        most = baseline.ravel() + min(step / steps + distance, 1) * way
        for i in range(now.size):
            if abs(now[i] - baseline.ravel()[i]) < abs(least[i] - baseline.ravel()[i]):
                now[i] = least[i]
        left = [i for i in range(now.size) if abs(most[i] - now[i]) > 1e-13]
        while left:
            excess = np.abs(x.ravel() - now).sum() - whole * (1 - step / steps)
            if excess <= 1e-9 * whole:
                break
            padded = sorted([slope[i] for i in left] + [np.inf] * (now.size - len(left)))
            limit = padded[int(fraction * (now.size - 1))]
            chosen = [i for i in left if slope[i] <= limit]
            possible = sum(abs(most[i] - now[i]) for i in chosen)
            for i in chosen:
                now[i] += min(1.0, excess / possible) * (most[i] - now[i])
            if excess <= possible:
                break
            left = [i for i in left if i not in chosen]
        path.append(now.reshape(x.shape).copy())
    return path


def guided_integrated_gradients(
    net: Net, x: np.ndarray, target: int, baseline: np.ndarray, steps: int, fraction: float, distance: float
) -> np.ndarray:
    path = guided_path(net, x, target, baseline, steps, fraction, distance)
    return np.sum([(b - a) * gradient(net, a, target) for a, b in pairwise(path)], axis=0)


def idgi(net: Net, path: Sequence[np.ndarray], target: int) -> np.ndarray:
    found = np.zeros_like(path[0])
    for here, there in pairwise(path):
        g = gradient(net, here, target)
        if (g**2).sum() > 0:
            found += g**2 / (g**2).sum() * (scores(net, there)[target] - scores(net, here)[target])
    return found


def expected_gradients(
    net: Net,
    x: np.ndarray,
    target: int,
    backgrounds: Sequence[np.ndarray],
    samples: int,
    random_state: int,
    noise: Sequence[np.ndarray] | None = None,
) -> np.ndarray:
    found = np.zeros_like(x)
    for k in range(samples):
        generator = np.random.default_rng([random_state, k])
        start = backgrounds[generator.integers(len(backgrounds))]
        end = x if noise is None else x + noise[k]
        point = generator.uniform()
        found += (end - start) * gradient(net, start + point * (end - start), target)
    return found / samples


def rect_grad(net: Net, x: np.ndarray, target: int, q: float) -> np.ndarray:
    values = forward(net, x)
    g = np.zeros_like(values[-1])
    g[target] = 1
    for i in range(len(net) - 1, -1, -1):
        kind, _, *weights = net[i]
        if kind == "relu":
            importance = values[i + 1] * g
            g = g * (importance > np.percentile(importance, q, method="nearest"))
        else:
            g = BACKWARD[kind](values[i], g, *weights)
    return x * g


def softened(net: Net, beta: float) -> Callable[[np.ndarray], list[np.ndarray]]:
    """The forward pass of the net with softplus for every ReLU."""

    def values(x: np.ndarray) -> list[np.ndarray]:
        found = [x]
        for kind, _, *weights in net:
            soft = kind == "relu"
            found.append(np.logaddexp(0, beta * found[-1]) / beta if soft else FORWARD[kind](found[-1], *weights))
        return found

    return values


def beta_smooth(net: Net, x: np.ndarray, target: int, beta: float) -> np.ndarray:
    values = softened(net, beta)(x)
    g = np.zeros_like(values[-1])
    g[target] = 1
    for i in range(len(net) - 1, -1, -1):
        kind, _, *weights = net[i]
        g = g / (1 + np.exp(-beta * values[i])) if kind == "relu" else BACKWARD[kind](values[i], g, *weights)
    return g


def full_gradient(net: Net, x: np.ndarray, target: int) -> dict[str, np.ndarray]:
    """Image times gradient under "", and bias times gradient under the name of each layer that has one."""
    parts = {"": x * gradient(net, x, target)}
    for _kind, name, *weights in net:
        if len(weights) == 2:
            parts[name] = backward(net, x, target, at=name) * weights[1]
    return parts


def full_grad(net: Net, x: np.ndarray, target: int) -> np.ndarray:
    found = np.zeros(x.shape[:2])
    for part in full_gradient(net, x, target).values():
        if part.ndim == 3:
            for c in range(part.shape[2]):
                channel = np.abs(part[:, :, c])
                if channel.max() > channel.min():
                    channel = (channel - channel.min()) / (channel.max() - channel.min())
                    found += bilinear(channel, x.shape[:2])
    return found
