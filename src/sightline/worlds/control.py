"""Pictures and nets whose attributions are known in closed form: a sum, a small ReLU net, and a product.

Two patches of the picture matter, and nothing else. All nets see the mean of each patch, in values from 0 to 1:

- `linear`: 3 a - 2 b + 0.5, with a and b the means of the two patches, each over channels weighed by `CHANNELS`;
- `relu`: the sum of `OUTER` times the rectified `HIDDEN` combinations of a, b and 1;
- `product`: a times b, an "and": either patch alone is worth nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from sightline.worlds.drawing import Drawing, Intervention, as_shown, check_size, generator, unchanged
from sightline.worlds.painting import Array, noise, pixel_centres

PATCHES = ((-0.45, -0.35, 0.3), (0.4, 0.3, 0.35))  # x, y and half the side, in half pictures
CHANNELS = (0.5, 0.3, 0.2)
LINEAR = (3.0, -2.0, 0.5)
HIDDEN = ((2.0, -1.0, -0.3), (-1.0, 1.5, -0.2), (1.0, 1.0, -1.0))
OUTER = (1.5, -1.0, 2.0)
KINDS = ("linear", "relu", "product")


@dataclass(frozen=True)
class Control:
    """A picture of smooth colours with two lit patches; any of the three parts may be black."""

    seed: int
    black: frozenset[str]  # of "first", "second" and "rest"


def draw(kind: str, seed: int, *, size: int = 32) -> Drawing:
    """The picture of a seed, for the net of that kind; InputError for a negative seed, or a size outside 32 to 1024."""
    generator(seed)
    return render(kind, Control(seed, frozenset()), size)


def render(kind: str, picture: Control, size: int = 32) -> Drawing:
    """Paints a picture, and says its net's score; InputError for a size outside 32 to 1024."""
    check_size(size)
    rng = np.random.default_rng(picture.seed)
    canvas = 0.45 + 0.12 * np.stack([noise(rng, size, 9) + 0.5 * noise(rng, size, 40) for _ in range(3)], axis=-1)
    places = patches(size)
    for place in places:
        canvas[place] += rng.uniform(-0.3, 0.4, 3)
    rest = ~(places[0] | places[1])
    where = {"first": places[0], "second": places[1], "rest": rest}
    for name in picture.black:
        canvas[where[name]] = 0
    image = np.round(255 * np.clip(canvas, 0, 1)).astype(np.uint8)
    a, b = means(image / 255.0)
    score = SCORES[kind](a, b)
    facts = {"score": round(score, 6), "first": round(a, 6), "second": round(b, 6)}
    return Drawing(image, ~rest, np.zeros((size, size), bool), rest, score, picture, facts)


def patches(size: int) -> Array:
    """Where the two patches are: (2, size, size) bool."""
    at = pixel_centres(size)
    return np.stack([(abs(at[:, None] - y) <= half) & (abs(at[None] - x) <= half) for x, y, half in PATCHES])


def weights(size: int) -> Array:
    """What each value of a picture adds to the two means: (2, size, size, 3)."""
    places = patches(size)
    return np.asarray(places[..., None] * np.array(CHANNELS) / places.sum((1, 2))[:, None, None, None])


def means(x: Array) -> tuple[float, float]:
    """The means of the two patches of a picture (size, size, 3)."""
    a, b = (weights(len(x)) * x).sum((1, 2, 3))
    return float(a), float(b)


def _linear(a: float, b: float) -> float:
    return LINEAR[0] * a + LINEAR[1] * b + LINEAR[2]


def _relu(a: float, b: float) -> float:
    return float(np.array(OUTER) @ np.maximum(np.array(HIDDEN) @ (a, b, 1), 0))


def _product(a: float, b: float) -> float:
    return a * b


SCORES: dict[str, Callable[[float, float], float]] = {"linear": _linear, "relu": _relu, "product": _product}


def truth(kind: str, image: Array, baseline: float = 0.0) -> dict[str, Array]:
    """The attributions of a picture (h, w, 3) uint8 by the net of that kind, each (h, w, 3) float64.

    "gradient", "input-x-gradient" and "integrated-gradients" from a plain `baseline` from 0 to 1; "shapley" of single
    values, where it is known: a sum has no interactions, and a product of two means shares each of its own in halves
    (Shapley 1953), as integrated gradients do.
    """
    x, w = image / 255.0, weights(len(image))
    at, before = means(x), means(np.full_like(x, baseline))
    slope = _SLOPES[kind](at, at) @ w.reshape(2, -1)
    path = _SLOPES[kind](before, at) @ w.reshape(2, -1)
    gradient, mean_gradient = slope.reshape(x.shape), path.reshape(x.shape)
    found = {
        "gradient": gradient,
        "input-x-gradient": gradient * x,
        "integrated-gradients": mean_gradient * (x - baseline),
    }
    return found if kind == "relu" else found | {"shapley": found["integrated-gradients"]}


def _linear_slope(start: tuple[float, float], end: tuple[float, float]) -> Array:
    return np.array(LINEAR[:2])


def _product_slope(start: tuple[float, float], end: tuple[float, float]) -> Array:
    """The mean over the straight path of (b, a)."""
    return np.array([(start[1] + end[1]) / 2, (start[0] + end[0]) / 2])


def _relu_slope(start: tuple[float, float], end: tuple[float, float]) -> Array:
    """Each hidden unit counts for the share of the straight path on which it is positive."""
    first, last = (np.array(HIDDEN) @ (*means, 1) for means in (start, end))
    low, high = np.minimum(first, last), np.maximum(first, last)
    share = np.where(high > low, np.maximum(high, 0) - np.maximum(low, 0), (high > 0) * 1.0)
    share = share / np.where(high > low, high - low, 1)
    return np.asarray((np.array(OUTER) * share) @ np.array(HIDDEN)[:, :2])


_SLOPES = {"linear": _linear_slope, "relu": _relu_slope, "product": _product_slope}


def _blacken(part: str, picture: Control) -> Control:
    return replace(picture, black=picture.black | {part})


INTERVENTIONS = {
    f"blacken-{part}": Intervention(partial(_blacken, part), unchanged if part == "rest" else as_shown)
    for part in ("first", "second", "rest")
}
