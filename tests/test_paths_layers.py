"""FullGrad over the layers that Keras and PyTorch have: norms, activations inside layers, heads; and where it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import sightline as sl
from nets import FRAMEWORK, native, use_float64
from sightline.arrays import to_numpy
from sightline.frameworks import adapt
from sightline.methods.full_grad import full_gradient
from sightline.scores import as_target

FRAMEWORKS = ("torch", "keras-tensorflow", "keras-jax", "keras-torch")
use_float64()
RNG = np.random.default_rng(5)
X = 2 * RNG.normal(size=(2, 8, 8, 3))
COARSE = FRAMEWORK in ("keras-torch", "keras-jax")  # there some of Keras' own layers go through float32
ROUNDING = 1e-6 if COARSE else 1e-11


def keras_net(*middle: Any, head: str = "softmax") -> Any:
    """A ReLU inside a convolution, layers in the middle, a ReLU inside a dense layer, a softmax inside the last."""
    import keras

    keras.utils.set_random_seed(1)
    net = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(4, 3, padding="same", activation="relu", name="conv"),
            *middle,
            keras.layers.GlobalMaxPooling2D(),
            keras.layers.Dense(6, activation="relu", name="dense"),
            keras.layers.Dense(3, activation=head, name="last"),
        ]
    )
    return _drawn_keras(net)


def _drawn_keras(net: Any) -> Any:
    for variable in net.variables:
        spread = np.abs(RNG.normal(size=variable.shape)) + 0.5
        variable.assign(spread if "variance" in variable.name else RNG.normal(size=variable.shape))
    return net


def torch_net(*middle: Any) -> Any:
    import torch
    from torch import nn

    torch.manual_seed(1)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), *middle, nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    )
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_()  # type: ignore[union-attr]
            part.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
            nn.init.normal_(part.bias)
    return net.double().eval()


def nets() -> dict[str, Any]:
    """Nets whose score is the sum of their parts."""
    if FRAMEWORK == "torch":
        from torch import nn

        shared = nn.ReLU6(inplace=True)
        again = nn.Conv2d(4, 4, 3, padding=1)
        return {
            "norm": torch_net(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Conv2d(4, 4, 1)),
            "relu6": torch_net(nn.Conv2d(4, 4, 3), shared, nn.Conv2d(4, 4, 1), shared),
            "gelu": torch_net(nn.Conv2d(4, 4, 3), nn.GELU()),
            "reused": torch_net(again, again),
        }
    import keras

    layer = keras.layers
    return {
        "norm": keras_net(layer.Conv2D(4, 3), layer.BatchNormalization(), layer.ReLU(), layer.Conv2D(4, 1)),
        "relu6": keras_net(layer.Conv2D(4, 3), layer.ReLU(6.0), layer.DepthwiseConv2D(3), layer.Activation("gelu")),
        "linear head": keras_net(head="linear"),
    }


def refused() -> Any:
    """A net that divides by what it finds in the image."""
    if FRAMEWORK == "torch":
        from torch import nn

        return torch_net(nn.GroupNorm(2, 4), nn.Conv2d(4, 4, 1))
    import keras

    return keras_net(keras.layers.LayerNormalization(), keras.layers.Conv2D(4, 1))


def test_the_parts_sum_to_the_score_of_every_such_net() -> None:
    for name, net in nets().items():
        model = adapt(net)
        x = native(X, model)
        weights = np.zeros((2, 2, 3))
        weights[0, :, 1] = weights[1, :, 2] = 1
        parts = full_gradient(model, x, as_target(weights, x))
        found = sum(to_numpy(p).reshape(2, 2, -1).sum(axis=2) for p in (parts.image, *(p for _, p in parts.biases)))
        score = to_numpy(parts.score)
        np.testing.assert_allclose(found + to_numpy(parts.rest), score, rtol=0, atol=ROUNDING * np.abs(score).max())
        image = to_numpy(parts.image).reshape(2, 2, -1).sum(axis=2)
        assert np.abs(image - score).min() > 1e-3, name  # the biases matter
        e = sl.explain(net, x, method="full-grad", target=[1, 2])
        assert max(each.checks["residual"].max() for each in e) < 100 * ROUNDING


def test_a_net_that_is_no_sum_of_its_parts_is_refused() -> None:
    net = refused()
    with pytest.raises(sl.ModelError, match="not the sum of its gradients times image and biases"):
        sl.explain(net, native(X, adapt(net)), method="full-grad", target=1)


if FRAMEWORK != "torch":  # whose layers apply no activation themselves

    def test_an_activation_inside_a_layer_that_is_no_relu_is_refused() -> None:
        import keras

        net = keras_net(keras.layers.Conv2D(4, 3, activation="gelu", name="bent"))
        with pytest.raises(sl.ModelError, match="layer 'bent' applies gelu itself"):
            sl.explain(net, native(X, adapt(net)), method="full-grad", target=1)


def test_beta_smooth_reaches_every_form_of_relu_or_refuses() -> None:
    """A ReLU with a ceiling is the difference of two softplus functions; the slope of the smoothed net is measured."""
    net = nets()["relu6"]
    model = adapt(net)
    found = to_numpy(_smooth(net, X)[1])[0]
    step = (1e-2 if COARSE else 1e-5) * RNG.normal(size=X.shape)
    up, down = (_smooth(net, X + side * step)[0] for side in (1, -1))
    moved = np.moveaxis(step, -1, model.channel)
    expected = (found * moved).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(
        (up - down) / 2, expected, rtol=0, atol=(1e-2 if COARSE else 1e-6) * np.abs(expected).max()
    )


def _smooth(net: Any, images: np.ndarray) -> tuple[np.ndarray, Any]:
    """Scores of the smoothed net, and their gradient."""
    from sightline.methods.beta_smooth import softened

    model = adapt(net)
    x = native(images, model)
    weights = np.zeros((1, 2, 3))
    weights[0, :, 1] = 1
    trace = model.run(x, at=[""], target=as_target(weights, x), rule=softened(2.0))
    return to_numpy(trace.score)[0], trace.grads[""]
