"""Methods on arrays that know the standard and nothing else, on a linear model of which the answer is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import array_api_strict as strict
import numpy as np
import pytest

import sightline as sl
from sightline.arrays import like, namespace

FRAMEWORKS = ("none",)


@dataclass(frozen=True)
class Linear:
    """Scores x · w + b of images (n, 4, 6, 2), over whatever arrays it is given: a model of the user's own."""

    w: Any  # (classes, 4, 6, 2)
    b: Any
    channel: int = -1
    chunk: int = 3

    def array(self, x: Any) -> Any:
        return like(np.asarray(x), self.w)

    def places(self, x: Any) -> list[sl.Layer]:
        return [sl.Layer("", "input", tuple(x.shape[1:]))]

    def run(
        self,
        x: Any,
        *,
        at: Sequence[str] = (),
        edit: Mapping[str, Any] | None = None,
        target: sl.Target | None = None,
        rule: Any = None,
        memory: Any = None,
    ) -> sl.Trace:
        xp, n = namespace(x), x.shape[0]
        outputs = xp.matmul(xp.reshape(x, (n, -1)), xp.reshape(self.w, (self.w.shape[0], -1)).T) + self.b
        score = None if target is None else target(outputs)
        grads = {}
        if at and target is not None:
            flat = xp.matmul(slopes(target, outputs), xp.reshape(self.w, (self.w.shape[0], -1)))
            grads[""] = xp.reshape(flat, (-1, *x.shape))
        return sl.Trace(outputs, score, dict.fromkeys(at, x), grads)


def slopes(target: sl.Target, outputs: Any) -> Any:
    """How each score (k, n) moves with each class: (k, n, classes), whole numbers for any target that names classes."""
    xp, step = namespace(outputs), 2.0**-12
    units = like(np.eye(outputs.shape[1]), outputs)
    moved = [target(outputs + step * units[c, :]) - target(outputs) for c in range(outputs.shape[1])]
    return xp.round(xp.stack(moved, axis=-1) / step)


RNG = np.random.default_rng(5)
W, B = RNG.normal(size=(3, 4, 6, 2)), RNG.normal(size=3)
X = RNG.normal(size=(4, 4, 6, 2))
TOP = (X.reshape(4, -1) @ W.reshape(3, -1).T + B).argmax(axis=1)


@pytest.fixture(params=[np.asarray, strict.asarray], ids=["numpy", "strict"])
def linear(request: pytest.FixtureRequest) -> Linear:
    return Linear(request.param(W), request.param(B))


def attribution(model: Linear, method: str, **params: Any) -> np.ndarray:
    """(n, ...) of the top class, in float64, before it becomes an Explanation's float32."""
    from sightline.asking import Request, ask
    from sightline.method import METHODS
    from sightline.params import settle_params

    request = Request(METHODS[method], settle_params(METHODS[method], params), ["top"], None, None, 0.0)
    ((found, _),) = ask([request], sl.load(model), None, model.array(X))
    return found.attribution[0]


def test_integrated_gradients_of_a_linear_model_is_weight_times_image(linear: Linear) -> None:
    baseline = RNG.normal(size=X.shape)
    found = attribution(linear, "integrated-gradients", baseline=baseline, steps=5)
    np.testing.assert_allclose(found, W[TOP] * (X - baseline), rtol=0, atol=1e-12)
    zero = attribution(linear, "integrated-gradients", baseline=0, steps=7)
    np.testing.assert_allclose(zero, W[TOP] * X, rtol=0, atol=1e-12)


def test_gradient_methods_of_a_linear_model(linear: Linear) -> None:
    assert np.array_equal(attribution(linear, "gradient"), W[TOP])
    np.testing.assert_allclose(attribution(linear, "input-x-gradient"), W[TOP] * X, rtol=0, atol=1e-15)
    np.testing.assert_allclose(
        attribution(linear, "smoothgrad", of="input-x-gradient", samples=4, noise=0.0), W[TOP] * X, rtol=0, atol=1e-12
    )


def test_occlusion_of_a_linear_model_is_the_share_of_what_is_hidden(linear: Linear) -> None:
    found = attribution(linear, "occlusion", baseline=0.25, window=2, stride=2)
    parts = (W[TOP] * (X - 0.25)).sum(axis=-1)  # of each pixel
    blocks = parts.reshape(4, 2, 2, 3, 2).sum(axis=(2, 4))
    np.testing.assert_allclose(found, blocks.repeat(2, axis=1).repeat(2, axis=2), rtol=0, atol=1e-12)


def test_explain_takes_a_model_of_the_users_own(linear: Linear) -> None:
    e = sl.explain(linear, X, method="gradient", labels=("a", "b", "c"))
    assert [t["label"] for t in e.target] == [("a", "b", "c")[c] for c in TOP]
    np.testing.assert_allclose(e.map, np.abs(W[TOP]).max(axis=-1), rtol=1e-6)
    with pytest.raises(sl.ModelError, match=r"^device= was given with a model with an adapter of its own.*\n.*$"):
        sl.explain(linear, X, method="gradient", device="cpu")
