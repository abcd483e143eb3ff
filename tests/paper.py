"""The methods once more, from their papers: slow, in float64, one image (h, w, c) at a time, without any framework."""

from __future__ import annotations

from typing import Any

import numpy as np

Net = list[
    tuple[Any, ...]
]  # ("conv", name, kernel (3, 3, in, out), bias), ("relu", name), ("pool", name), ("mean",), ("linear", ...)


def small_net(seed: int = 0, channels: int = 3, classes: int = 5) -> Net:
    """conv, ReLU, max-pooling, conv, ReLU, mean over space, linear; biases everywhere."""
    rng = np.random.default_rng(seed)
    return [
        ("conv", "conv1", rng.normal(size=(3, 3, channels, 4)), rng.normal(size=4)),
        ("relu", "relu1"),
        ("pool", "pool1"),
        ("conv", "conv2", rng.normal(size=(3, 3, 4, 6)) / 3, rng.normal(size=6)),
        ("relu", "relu2"),
        ("mean", "mean"),
        ("linear", "head", rng.normal(size=(6, classes)), rng.normal(size=classes)),
    ]


def forward(net: Net, x: np.ndarray) -> list[np.ndarray]:
    """What each layer gives; the image comes first."""
    values = [x]
    for kind, _, *weights in net:
        values.append(FORWARD[kind](values[-1], *weights))
    return values


def scores(net: Net, x: np.ndarray) -> np.ndarray:
    return forward(net, x)[-1]


def backward(net: Net, x: np.ndarray, target: int, at: str = "", rule: str = "") -> np.ndarray:
    """The target score sent back to the image or to the output of the layer called `at`."""
    values = forward(net, x)
    g = np.zeros_like(values[-1])
    g[target] = 1
    for i in range(len(net) - 1, -1, -1):
        kind, name, *weights = net[i]
        if name == at:
            return g
        g = _relu_back(values[i], g, rule) if kind == "relu" else BACKWARD[kind](values[i], g, *weights)
    return g


def _relu_back(x: np.ndarray, g: np.ndarray, rule: str) -> np.ndarray:
    if rule == "deconv":
        return g * (g > 0)
    return g * (x > 0) * (g > 0) if rule == "guided" else g * (x > 0)


def _conv(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    y = np.empty((*x.shape[:2], kernel.shape[3]))
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            y[i, j] = np.einsum("abc,abco->o", padded[i : i + 3, j : j + 3], kernel) + bias
    return y


def _conv_back(x: np.ndarray, g: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    padded = np.zeros((x.shape[0] + 2, x.shape[1] + 2, x.shape[2]))
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            padded[i : i + 3, j : j + 3] += np.einsum("abco,o->abc", kernel, g[i, j])
    return padded[1:-1, 1:-1]


def _pool(x: np.ndarray) -> np.ndarray:
    h, w, c = x.shape
    return x.reshape(h // 2, 2, w // 2, 2, c).max(axis=(1, 3))


def _pool_back(x: np.ndarray, g: np.ndarray) -> np.ndarray:
    back = np.zeros_like(x)
    for i, j, c in np.ndindex(*g.shape):
        window = x[2 * i : 2 * i + 2, 2 * j : 2 * j + 2, c]
        a, b = np.unravel_index(window.argmax(), (2, 2))
        back[2 * i + a, 2 * j + b, c] = g[i, j, c]
    return back


FORWARD = {
    "conv": _conv,
    "relu": lambda x: x * (x > 0),
    "pool": _pool,
    "mean": lambda x: x.mean(axis=(0, 1)),
    "linear": lambda x, w, b: x @ w + b,
}
BACKWARD = {
    "conv": _conv_back,
    "pool": _pool_back,
    "mean": lambda x, g: np.broadcast_to(g / (x.shape[0] * x.shape[1]), x.shape),
    "linear": lambda x, g, w, b: w @ g,
}


def gradient(net: Net, x: np.ndarray, target: int) -> np.ndarray:
    return backward(net, x, target)


def input_x_gradient(net: Net, x: np.ndarray, target: int) -> np.ndarray:
    return x * backward(net, x, target)


def guided_backprop(net: Net, x: np.ndarray, target: int) -> np.ndarray:
    return backward(net, x, target, rule="guided")


def deconvnet(net: Net, x: np.ndarray, target: int) -> np.ndarray:
    return backward(net, x, target, rule="deconv")


def grad_cam(net: Net, x: np.ndarray, target: int, layer: str) -> np.ndarray:
    features = forward(net, x)[1 + [entry[1] for entry in net].index(layer)]
    g = backward(net, x, target, at=layer)
    cam = np.zeros(features.shape[:2])
    for c in range(features.shape[2]):
        cam += g[:, :, c].mean() * features[:, :, c]
    return np.maximum(cam, 0)


def guided_grad_cam(net: Net, x: np.ndarray, target: int, layer: str) -> np.ndarray:
    return guided_backprop(net, x, target) * bilinear(grad_cam(net, x, target, layer), x.shape[:2])[:, :, None]


def integrated_gradients(net: Net, x: np.ndarray, target: int, baseline: np.ndarray, steps: int) -> np.ndarray:
    total = np.zeros_like(x)
    for k in range(steps):
        total += gradient(net, baseline + (k + 0.5) / steps * (x - baseline), target)
    return (x - baseline) * total / steps


def smoothgrad(net: Net, x: np.ndarray, target: int, draws: np.ndarray, noise: float, form: str) -> np.ndarray:
    each = np.stack([gradient(net, x + noise * (x.max() - x.min()) * draw, target) for draw in draws])
    return {"mean": each.mean(0), "squared": (each**2).mean(0), "variance": each.var(0)}[form]


def occlusion(net: Net, x: np.ndarray, target: int, baseline: np.ndarray, window: int, stride: int) -> np.ndarray:
    h, w = x.shape[:2]
    total, covered = np.zeros((h, w)), np.zeros((h, w))
    for top in range(0, h, stride):
        for left in range(0, w, stride):
            there = (slice(top, top + window), slice(left, left + window))
            hidden = x.copy()
            hidden[there] = baseline[there]
            total[there] += scores(net, x)[target] - scores(net, hidden)[target]
            covered[there] += 1
            if left + window >= w:
                break
        if top + window >= h:
            break
    return total / covered


def bilinear(a: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    out = np.empty(size)
    for i, j in np.ndindex(*size):
        y, x = (min(max((p + 0.5) * old / new - 0.5, 0), old - 1) for p, old, new in zip((i, j), a.shape, size))
        y0, x0 = int(y), int(x)
        y1, x1 = min(y0 + 1, a.shape[0] - 1), min(x0 + 1, a.shape[1] - 1)
        top = a[y0, x0] * (1 - (x - x0)) + a[y0, x1] * (x - x0)
        low = a[y1, x0] * (1 - (x - x0)) + a[y1, x1] * (x - x0)
        out[i, j] = top * (1 - (y - y0)) + low * (y - y0)
    return out
