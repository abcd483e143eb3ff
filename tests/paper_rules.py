"""The relevance rules once more, from their papers: every layer a matrix of what input i brings to output j."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from paper import Net, forward

Rule = Callable[..., np.ndarray]
"""(x (i,), w (i, j), b (j,), wired (i, j), relevance (j,)) -> relevance (i,)."""


def matrix(shape: tuple[int, ...], kernel: np.ndarray) -> np.ndarray:
    """The weights (i, j) of a 3 x 3 convolution with a border of zeros, or of a linear layer."""
    if kernel.ndim == 2:
        return kernel
    h, w, c = shape
    found = np.zeros((h, w, c, h, w, kernel.shape[3]))
    for i, j, a, b in np.ndindex(h, w, 3, 3):
        if 0 <= i + a - 1 < h and 0 <= j + b - 1 < w:
            found[i + a - 1, j + b - 1, :, i, j, :] = kernel[a, b]
    return found.reshape(h * w * c, h * w * kernel.shape[3])


def over(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a / b, and 0 where b is 0."""
    return np.divide(a, b, out=np.zeros(np.broadcast_shapes(a.shape, b.shape)), where=b != 0)


def epsilon(size: float) -> Rule:
    def rule(x, w, b, wired, r):
        z = x @ w + b
        return (x[:, None] * w) @ (r / (z + size * np.where(z >= 0, 1, -1)))

    return rule


def gamma(size: float) -> Rule:
    def rule(x, w, b, wired, r):
        found = np.zeros_like(x)
        for j in range(len(r)):
            z, bias = x * w[:, j], b[j]
            same = np.sign(z.sum() + bias) or 1.0
            z, bias = z + size * z * (np.sign(z) == same), bias + size * bias * (np.sign(bias) == same)
            found += z / (z.sum() + bias) * r[j] if z.sum() + bias else 0
        return found

    return rule


def alpha_beta(alpha: float, beta: float, biased: bool = True) -> Rule:
    def rule(x, w, b, wired, r):
        z, b = x[:, None] * w, b if biased else 0 * b
        up, down = np.maximum(z, 0), np.minimum(z, 0)
        up_share = over(up, up.sum(0) + np.maximum(b, 0))
        return (alpha * up_share - beta * over(down, down.sum(0) + np.minimum(b, 0))) @ r

    return rule


def flat(x, w, b, wired, r):
    return (wired / wired.sum(0)) @ r


def w_square(x, w, b, wired, r):
    return (w**2 / (w**2).sum(0)) @ r


def z_box(low: np.ndarray, high: np.ndarray) -> Rule:
    def rule(x, w, b, wired, r):
        z = x[:, None] * w - low.ravel()[:, None] * np.maximum(w, 0) - high.ravel()[:, None] * np.minimum(w, 0)
        return (z / z.sum(0)) @ r

    return rule


def lrp(
    net: Net, x: np.ndarray, target: int, rule_of: Callable[[str, int], Rule], size: float | None = 0
) -> np.ndarray:
    """`rule_of(kind, number of weighted layers before)`; `size`: the ε of a mean, a linear layer too; None: equal shares."""
    values = forward(net, x)
    return sent_back(net, values, values[-1] * (np.arange(len(values[-1])) == target), rule_of, size)


def sent_back(net, values, r, rule_of, size: float | None = 0) -> np.ndarray:
    for i in range(len(net) - 1, -1, -1):
        kind, _, *weights = net[i]
        if kind in ("conv", "linear"):
            before = sum(entry[0] in ("conv", "linear") for entry in net[:i])
            r = through_weights(values[i], weights, rule_of(kind, before), r)
        elif kind == "mean":
            z, cells = values[i].mean(axis=(0, 1)), values[i].shape[0] * values[i].shape[1]
            if size is None:
                r = np.ones_like(values[i]) / cells * r
            else:
                r = values[i] / cells * over(r, z + size * np.where(z >= 0, 1, -1))
        elif kind == "pool":
            r = to_winners(values[i], r)
    return r


def through_weights(x: np.ndarray, weights: list[np.ndarray], rule: Rule, r: np.ndarray) -> np.ndarray:
    w, wired = (matrix(x.shape, kernel) for kernel in (weights[0], np.ones_like(weights[0])))
    b = np.tile(weights[1], w.shape[1] // len(weights[1]))
    return rule(x.ravel(), w, b, wired, r.ravel()).reshape(x.shape)


def to_winners(x: np.ndarray, r: np.ndarray) -> np.ndarray:
    found = np.zeros_like(x)
    for i, j, c in np.ndindex(*r.shape):
        a, b = np.unravel_index(x[2 * i : 2 * i + 2, 2 * j : 2 * j + 2, c].argmax(), (2, 2))
        found[2 * i + a, 2 * j + b, c] = r[i, j, c]
    return found


def plain(net: Net, x: np.ndarray, target: int, rule: Rule, size: float | None = 0) -> np.ndarray:
    return lrp(net, x, target, lambda kind, before: rule, size)


def composed(
    net: Net, x: np.ndarray, target: int, conv: Rule, linear: Rule, first: Rule | None = None, size: float = 0
) -> np.ndarray:
    def rule_of(kind: str, before: int) -> Rule:
        return first if first is not None and before == 0 else {"conv": conv, "linear": linear}[kind]

    return lrp(net, x, target, rule_of, size)


def excitation(net: Net, x: np.ndarray, target: int, contrast: bool = False) -> np.ndarray:
    """Marginal winning probabilities: P(i | j) is proportional to what i brings to j, where that is positive."""
    wins = alpha_beta(1, 0, biased=False)

    def against(x, w, b, wired, r):
        return wins(x, w, b, wired, r) - wins(x, -w, b, wired, r)

    values = forward(net, x)
    one = 1.0 * (np.arange(len(values[-1])) == target)
    return sent_back(net, values, one, lambda kind, _: against if contrast and kind == "linear" else wins)


def deep_lift(net: Net, x: np.ndarray, target: int, reference: np.ndarray, form: str = "rescale") -> np.ndarray:
    values, others = forward(net, x), forward(net, reference)
    m = np.zeros_like(values[-1])
    m[target] = 1
    i = len(net) - 1
    while i >= 0:
        kind, _, *weights = net[i]
        if kind == "relu" and form == "reveal-cancel":
            i -= 1  # with the weights before it
            m = revealed(values[i], others[i], net[i][2], net[i][3], m)
        elif kind == "relu":
            m = m * (values[i + 1] - others[i + 1]) / (values[i] - others[i])
        elif kind == "pool":
            m = pooled(values[i], others[i], m)
        elif kind == "mean":
            m = np.broadcast_to(m / np.prod(values[i].shape[:2]), values[i].shape)
        else:
            m = (matrix(values[i].shape, weights[0]) @ m.ravel()).reshape(values[i].shape)
        i -= 1
    return m * (x - reference)


def pooled(x: np.ndarray, reference: np.ndarray, m: np.ndarray) -> np.ndarray:
    found = np.zeros_like(x)
    for i, j, c in np.ndindex(*m.shape):
        window = (slice(2 * i, 2 * i + 2), slice(2 * j, 2 * j + 2), c)
        change = x[window].max() - reference[window].max()
        winner = np.unravel_index((x if change > 0 else reference)[window].argmax(), (2, 2))
        at = (2 * i + winner[0], 2 * j + winner[1], c)
        found[at] = m[i, j, c] * change / (x[at] - reference[at]) if change else 0
    return found


def revealed(x: np.ndarray, reference: np.ndarray, kernel: np.ndarray, bias: np.ndarray, m: np.ndarray) -> np.ndarray:
    """Multipliers before a layer and its ReLU, by RevealCancel and the linear rule."""
    w, change = matrix(x.shape, kernel), (x - reference).ravel()
    b = np.tile(bias, w.shape[1] // len(bias))
    found = np.zeros_like(change)
    rectified = lambda z: max(z, 0.0)  # noqa: E731
    for j in range(w.shape[1]):
        parts = w[:, j] * change
        up, down, z = parts[parts > 0].sum(), parts[parts < 0].sum(), reference.ravel() @ w[:, j] + b[j]
        risen = (rectified(z + up) - rectified(z) + rectified(z + up + down) - rectified(z + down)) / 2
        fallen = (rectified(z + down) - rectified(z) + rectified(z + up + down) - rectified(z + up)) / 2
        found += np.where(parts > 0, w[:, j] * risen / up, w[:, j] * fallen / down) * m.ravel()[j]
    return found.reshape(x.shape)
