"""The class activation maps once more, from their papers: in NumPy loops, float64, one image (h, w, c) at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from paper import FORWARD, Net, backward, bilinear, forward, scores


def features_of(net: Net, x: np.ndarray, layer: str) -> np.ndarray:
    return forward(net, x)[1 + _index(net, layer)]


def score_from(net: Net, features: np.ndarray, layer: str) -> np.ndarray:
    """The scores when the layer gives `features`."""
    value = features
    for kind, _, *weights in net[_index(net, layer) + 1 :]:
        value = FORWARD[kind](value, *weights)
    return value


def _index(net: Net, layer: str) -> int:
    return [entry[1] for entry in net].index(layer)


def _both(net: Net, x: np.ndarray, target: int, layer: str) -> tuple[np.ndarray, np.ndarray]:
    return features_of(net, x, layer), backward(net, x, target, at=layer)


def _weighed(weights: np.ndarray, features: np.ndarray) -> np.ndarray:
    total = np.zeros(features.shape[:2])
    for c in range(features.shape[2]):
        total += weights[c] * features[:, :, c]
    return total.clip(0)


def cam(net: Net, x: np.ndarray, target: int, layer: str) -> np.ndarray:
    """The weights are read off the linear layer."""
    (_, _, weights, _), features = net[-1], features_of(net, x, layer)
    return sum(weights[c, target] * features[:, :, c] for c in range(features.shape[2]))


def hires_cam(net: Net, x: np.ndarray, target: int, layer: str) -> np.ndarray:
    a, g = _both(net, x, target, layer)
    return np.einsum("ijc,ijc->ij", a, g).clip(0)


def elementwise_grad_cam(net: Net, x: np.ndarray, target: int, layer: str) -> np.ndarray:
    a, g = _both(net, x, target, layer)
    return np.array(
        [[sum(max(p * q, 0) for p, q in zip(a[i, j], g[i, j])) for j in range(a.shape[1])] for i in range(len(a))]
    )


def layer_cam(net: Net, x: np.ndarray, target: int, layer: str) -> np.ndarray:
    a, g = _both(net, x, target, layer)
    return np.einsum("ijc,ijc->ij", a, np.maximum(g, 0)).clip(0)


def xgrad_cam(net: Net, x: np.ndarray, target: int, layer: str) -> np.ndarray:
    a, g = _both(net, x, target, layer)
    weights = []
    for c in range(a.shape[2]):
        whole = a[:, :, c].sum()
        weights.append((a[:, :, c] / whole * g[:, :, c]).sum() if whole else 0.0)
    return _weighed(np.array(weights), a)


def grad_cam_plus_plus(net: Net, x: np.ndarray, target: int, layer: str) -> np.ndarray:
    a, g = _both(net, x, target, layer)
    return _plus_plus(a, g, g**2, g**3)


def _plus_plus(a: np.ndarray, first: np.ndarray, second: np.ndarray, third: np.ndarray) -> np.ndarray:
    weights = np.zeros(a.shape[2])
    for i, j, c in np.ndindex(*a.shape):
        below = 2 * second[i, j, c] + a[:, :, c].sum() * third[i, j, c]
        weights[c] += second[i, j, c] / below * max(first[i, j, c], 0) if below else 0.0
    return _weighed(weights, a)


def smooth_grad_cam_plus_plus(
    net: Net, x: np.ndarray, target: int, layer: str, draws: np.ndarray, noise: float
) -> np.ndarray:
    each = np.stack([backward(net, x + noise * (x.max() - x.min()) * draw, target, at=layer) for draw in draws])
    return _plus_plus(features_of(net, x, layer), *((each**power).mean(0) for power in (1, 2, 3)))


def _with_sign(component: np.ndarray, along: np.ndarray) -> np.ndarray:
    return component * (1 if (component * along).sum() >= 0 else -1)


def eigen_cam(net: Net, x: np.ndarray, target: int, layer: str) -> np.ndarray:
    return _first_direction(features_of(net, x, layer))


def eigen_grad_cam(net: Net, x: np.ndarray, target: int, layer: str) -> np.ndarray:
    a, g = _both(net, x, target, layer)
    return _first_direction(a * g)


def _first_direction(a: np.ndarray) -> np.ndarray:
    matrix = a.reshape(-1, a.shape[2])
    _, _, rows = np.linalg.svd(matrix)
    return _with_sign((matrix @ rows[0]).reshape(a.shape[:2]), a.sum(-1))


def kpca_cam(net: Net, x: np.ndarray, target: int, layer: str) -> np.ndarray:
    a = features_of(net, x, layer)
    matrix = a.reshape(-1, a.shape[2])
    matrix = matrix - matrix.mean(0)
    size = len(matrix)
    kernel = np.empty((size, size))
    for i, j in np.ndindex(size, size):
        kernel[i, j] = np.tanh(matrix[i] @ matrix[j] / a.shape[2] + 1)
    ones = np.full((size, size), 1 / size)
    centred = kernel - ones @ kernel - kernel @ ones + ones @ kernel @ ones
    values, vectors = np.linalg.eigh(centred)
    component = vectors[:, -1] * np.sqrt(values[-1])
    return _with_sign(component, matrix.sum(1)).clip(0).reshape(a.shape[:2])


def fem(net: Net, x: np.ndarray, target: int, layer: str, sigmas: float) -> np.ndarray:
    a = features_of(net, x, layer)
    total = np.zeros(a.shape[:2])
    for c in range(a.shape[2]):
        mean, deviation = a[:, :, c].mean(), a[:, :, c].std()
        total[a[:, :, c] > mean + sigmas * deviation] += mean
    return total


def _score_weighted(
    net: Net, x: np.ndarray, target: int, layer: str, score_of: Callable[[np.ndarray, int], float]
) -> np.ndarray:
    """`score_of(mask, channel)` is what a channel's mask over the image is worth."""
    a = features_of(net, x, layer)
    powers = np.zeros(a.shape[2])
    for c in range(a.shape[2]):
        large = bilinear(a[:, :, c], x.shape[:2])
        if large.max() > large.min():
            powers[c] = np.exp(score_of((large - large.min()) / (large.max() - large.min()), c))
    return _weighed(powers / powers.sum(), a)


def score_cam(net: Net, x: np.ndarray, target: int, layer: str) -> np.ndarray:
    """With the paper's baseline, a black image."""
    black = scores(net, 0 * x)[target]
    return _score_weighted(net, x, target, layer, lambda mask, c: scores(net, x * mask[:, :, None])[target] - black)


def ss_cam(
    net: Net, x: np.ndarray, target: int, layer: str, samples: int, noise: float, draw: Callable[[int], np.ndarray]
) -> np.ndarray:
    def worth(mask: np.ndarray, c: int) -> float:
        noisy = [mask[:, :, None] + noise * draw(c * samples + s) for s in range(samples)]
        return float(np.mean([scores(net, x * m)[target] for m in noisy]))

    return _score_weighted(net, x, target, layer, worth)


def is_cam(net: Net, x: np.ndarray, target: int, layer: str, steps: int) -> np.ndarray:
    def worth(mask: np.ndarray, c: int) -> float:
        total = 0.0
        for i in range(1, steps + 1):
            seen = sum(j / steps * x * mask[:, :, None] for j in range(i))
            total += scores(net, seen)[target] / steps
        return total

    return _score_weighted(net, x, target, layer, worth)


def ablation_cam(net: Net, x: np.ndarray, target: int, layer: str) -> np.ndarray:
    a = features_of(net, x, layer)
    whole, weights = scores(net, x)[target], []
    for c in range(a.shape[2]):
        without = a.copy()
        without[:, :, c] = 0
        weights.append((whole - score_from(net, without, layer)[target]) / abs(whole))
    return _weighed(np.array(weights), a)


def recipro_cam(net: Net, x: np.ndarray, target: int, layer: str) -> np.ndarray:
    a = features_of(net, x, layer)
    found = np.empty(a.shape[:2])
    for i, j in np.ndindex(*found.shape):
        alone = np.zeros_like(a)
        alone[i, j] = a[i, j]
        found[i, j] = score_from(net, alone, layer)[target]
    return found - found.min()


def jacobian(net: Net, x: np.ndarray, layer: str) -> np.ndarray:
    """(classes, h, w, c): the gradient of each score at the layer."""
    return np.stack([backward(net, x, c, at=layer) for c in range(len(scores(net, x)))])


def shapley_cam(net: Net, x: np.ndarray, target: int, layer: str) -> np.ndarray:
    """The Hessian of score + log softmax at the layer, in full; the net is piecewise linear."""
    a, z, rows = features_of(net, x, layer), scores(net, x), jacobian(net, x, layer)
    p = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
    gradient = 2 * rows[target] - np.einsum("m,mijc->ijc", p, rows)
    hessian = -(np.diag(p) - np.outer(p, p))
    product = np.einsum("mijc,m->ijc", rows, hessian @ np.einsum("mijc,ijc->m", rows, a))
    return _weighed((gradient - product / 2).mean(axis=(0, 1)), a)


def finer_cam(net: Net, x: np.ndarray, target: int, layer: str, gamma: float, references: int) -> np.ndarray:
    """Grad-CAM's weights of each contrast, their mean over the references."""
    a, z, rows = features_of(net, x, layer), scores(net, x), jacobian(net, x, layer)
    others = sorted((c for c in range(len(z)) if c != target), key=lambda c: abs(z[c] - z[target]))[:references]
    weights = [(rows[target] - gamma * rows[d]).mean(axis=(0, 1)) for d in others]
    return _weighed(np.mean(weights, axis=0), a)


def _units(maps: list[np.ndarray]) -> list[np.ndarray]:
    return [m / m.max() if m.max() else m for m in maps]


def _finest(maps: list[np.ndarray]) -> list[np.ndarray]:
    return [bilinear(m, max(other.shape for other in maps)) for m in maps]


def layer_fusion(net: Net, x: np.ndarray, target: int, layers: list[str]) -> np.ndarray:
    maps = _units([layer_cam(net, x, target, layer) for layer in layers])
    return np.max(_finest([np.tanh(2 * m) for m in maps]), axis=0)


def refine_cam(net: Net, x: np.ndarray, target: int, layers: list[str]) -> np.ndarray:
    return np.prod(_finest(_units([grad_cam_plus_plus(net, x, target, layer) for layer in layers])), axis=0)


def augmented(x: np.ndarray, attribution: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """The mean of six maps, those of the mirror image turned back."""
    maps = []
    for factor in (0.9, 1.0, 1.1):
        maps.append(attribution(factor * x))
        maps.append(attribution(factor * x[:, ::-1])[:, ::-1])
    return np.mean(maps, axis=0)
