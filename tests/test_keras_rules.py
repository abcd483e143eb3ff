"""Backward rules in Keras models: every form of ReLU is met, and none is passed over in silence."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import sightline.methods  # noqa: F401
from keras_nets import BACKEND, IMAGES, WIDE, close, image, numbers, plain_gradient, weighed
from sightline.errors import ModelError
from sightline.frameworks.keras import adapt
from sightline.method import METHODS
from sightline.model import Back, Op, Target
from sightline.rules import deconv, guided
from sightline.rules.only import only

FRAMEWORKS = ("keras-tensorflow", "keras-jax", "keras-torch")


def second(outputs: Any) -> Any:
    return outputs[:, 1]


def backward(name: str, z: np.ndarray, g: np.ndarray, low: float, high: float) -> np.ndarray:
    """What a rule lets through of `g`, coming back to a ReLU of `z`."""
    if name == "deconv":
        return np.maximum(g, 0)
    return np.where((z > low) & (z < high), np.maximum(g, 0) if name == "guided" else g, 0)


def by_hand(model: keras.Model, name: str, low: float = 0.0, high: float = math.inf) -> np.ndarray:
    """The backward pass of dense, ReLU, dense, ReLU, dense from the second score, in NumPy."""
    (a, b), (c, d), (e, _) = ([numbers(w) for w in model.get_layer(n).weights] for n in ("one", "two", "three"))
    x = IMAGES.reshape(len(IMAGES), -1)
    z1 = x @ a + b
    z2 = np.where((z1 > low), np.minimum(z1, high), 0) @ c + d
    g = np.tile(e[:, 1], (len(x), 1))
    g = backward(name, z2, g, low, high) @ c.T
    return (backward(name, z1, g, low, high) @ a.T).reshape(IMAGES.shape)


def net(activation: Any) -> keras.Model:
    """Dense layers with `activation`, a function that makes what stands after each, between them."""
    i = image()
    x = layers.Flatten(**WIDE)(i)
    for name in ("one", "two"):
        x = activation()(layers.Dense(6, name=name, **WIDE)(x))
    return weighed(keras.Model(i, layers.Dense(4, name="three", **WIDE)(x)))


def nested(activation: Callable[[], Any]) -> Callable[[], Any]:
    return lambda: keras.Sequential([keras.Input((6,), dtype="float64"), activation()])


class Calls(layers.Layer):
    """A layer of the user's, whose call is a function."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        super().__init__(**WIDE)
        self.function = function

    def call(self, x: Any) -> Any:
        return self.function(x)


FORMS: dict[str, tuple[Callable[[], Any], float, float]] = {
    "layer": (lambda: layers.ReLU(**WIDE), 0, math.inf),
    "activation": (lambda: layers.Activation("relu", **WIDE), 0, math.inf),
    "operation": (lambda: ops.relu, 0, math.inf),
    "called": (lambda: Calls(ops.relu), 0, math.inf),
    "nested": (nested(lambda: layers.ReLU(**WIDE)), 0, math.inf),
    "relu6": (lambda: ops.relu6, 0, 6),
    "largest 6": (lambda: layers.ReLU(max_value=6, **WIDE), 0, 6),
    "largest 2": (lambda: layers.ReLU(max_value=2, **WIDE), 0, 2),
    "threshold": (lambda: layers.ReLU(threshold=0.5, **WIDE), 0.5, math.inf),
}


@pytest.mark.parametrize(("make", "low", "high"), FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("rule", [guided, deconv], ids=["guided", "deconv"])
def test_every_form_of_relu_takes_the_rule(make: Any, low: float, high: float, rule: Any) -> None:
    model = net(make)
    adapted = adapt(model)
    found = adapted.run(IMAGES, at=[""], target=Target(second), rule=rule)
    close(found.grads[""][0], by_hand(model, rule.__name__, low, high))
    plain = adapted.run(IMAGES, at=[""], target=Target(second))
    close(plain.grads[""][0], by_hand(model, "derivative", low, high))
    close(found.outputs, plain.outputs, 1e-13)
    close(plain.grads[""][0], plain_gradient(lambda x: model(x)[:, 1], IMAGES))


def test_activation_arguments_and_a_shared_relu_take_the_rule() -> None:
    i = image()
    shared = layers.ReLU(**WIDE)
    x = layers.Dense(6, activation="relu", name="one", **WIDE)(layers.Flatten(**WIDE)(i))
    x = shared(shared(layers.Dense(6, name="two", **WIDE)(x)))
    model = weighed(keras.Model(i, layers.Dense(4, name="three", **WIDE)(x)))
    found = adapt(model).run(IMAGES, at=["", "one"], target=Target(second), rule=guided)
    close(found.grads[""][0], by_hand(model, "guided"))


def test_a_rule_sees_the_place_and_the_values_of_each_operation() -> None:
    seen: dict[str, dict[str, Any]] = {}

    @only("relu")
    def only_the_second(op: Op) -> Back | None:
        seen.setdefault(op.place, {"kind": op.kind, **op.params})
        return deconv(op) if op.place == "last" else None

    @only("relu")
    def half(op: Op) -> Back | None:
        return lambda y, grad_y: (op.again(*op.args, limit=op.params["limit"])[1](grad_y)[0] / 2,)

    i = image()
    x = layers.Dense(6, activation="relu", name="one", **WIDE)(layers.Flatten(**WIDE)(i))
    x = layers.ReLU(max_value=6, name="last", **WIDE)(layers.Dense(6, name="two", **WIDE)(x))
    model = weighed(keras.Model(i, layers.Dense(4, name="three", **WIDE)(x)))
    adapted = adapt(model)
    ruled = adapted.run(IMAGES, at=["", "one"], target=Target(second), rule=only_the_second)
    plain = adapted.run(IMAGES, at=["", "one"], target=Target(second))
    assert seen == {"one": {"kind": "relu", "limit": math.inf}, "last": {"kind": "relu", "limit": 6.0}}
    assert not np.allclose(numbers(ruled.grads["one"]), numbers(plain.grads["one"]))
    halved = adapted.run(IMAGES, at=["", "one"], target=Target(second), rule=half)
    close(halved.grads[""], numbers(plain.grads[""]) / 4)


def test_leaky_forms_are_not_relu() -> None:
    for leaky in (
        lambda: layers.LeakyReLU(**WIDE),
        lambda: layers.PReLU(**WIDE),
        lambda: layers.ReLU(negative_slope=0.1, max_value=4, **WIDE),
        lambda: layers.Activation("elu", **WIDE),
        lambda: layers.Activation("hard_silu", **WIDE),
    ):
        i = image()
        x = layers.Dense(6, **WIDE)(leaky()(layers.Dense(6, **WIDE)(layers.Flatten(**WIDE)(i))))
        model = weighed(keras.Model(i, layers.Dense(4, **WIDE)(layers.ReLU(name="real", **WIDE)(x))))
        adapted = adapt(model)
        ruled = adapted.run(IMAGES, at=["", ":real"], target=Target(second), rule=deconv)
        plain = adapted.run(IMAGES, at=[""], edit={}, target=Target(second))
        way = numbers(ruled.grads[":real"][0])
        before = keras.Model(model.input, model.get_layer("real").input)
        close(ruled.grads[""][0], plain_gradient(lambda x, f=before, w=way: f(x) * ops.convert_to_tensor(w), IMAGES))
        assert not np.allclose(numbers(ruled.grads[""]), numbers(plain.grads[""]))


@pytest.mark.parametrize("rule", [guided, deconv], ids=["guided", "deconv"])
def test_a_rule_that_meets_nothing_is_refused(rule: Any) -> None:
    model = net(lambda: layers.Activation("tanh", **WIDE))
    with pytest.raises(ModelError, match=f"'{rule.__name__}' met none of its operations"):
        adapt(model).run(IMAGES, at=[""], target=Target(second), rule=rule)


def raw(x: Any) -> Any:
    """A ReLU of the framework's own."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        return tf.nn.relu(x)
    if BACKEND == "jax":
        import jax

        return jax.nn.relu(x)
    import torch

    return torch.relu_(x + 0.0)


def places_of_relus(model: keras.Model) -> list[str]:
    places: list[str] = []
    adapt(model).run(IMAGES, target=Target(second), rule=only("relu")(lambda op: places.append(op.place) or guided(op)))
    return places


def test_the_frameworks_own_relu_takes_the_rule_or_is_refused() -> None:
    model = net(lambda: Calls(raw))
    mixed = iter([layers.ReLU(**WIDE), Calls(raw)])
    half_raw = net(lambda: next(mixed))
    for one in (model, half_raw):
        if BACKEND == "jax":
            with pytest.raises(ModelError, match=r"calls jax\.nn\.relu itself"):
                adapt(one).run(IMAGES, at=[""], target=Target(second), rule=guided)
        else:
            places = places_of_relus(one)
            assert {place.rstrip("_0123456789") for place in places} <= {"re_lu", "calls"}
            assert len(set(places)) == 2
            found = adapt(one).run(IMAGES, at=[""], target=Target(second), rule=guided)
            close(found.grads[""][0], by_hand(one, "guided"))
        plain = adapt(one).run(IMAGES, at=[""], target=Target(second))
        close(plain.grads[""][0], by_hand(one, "derivative"))


def compiled_relu() -> Any:
    """A ReLU as a user compiles it, in the backend's own way."""
    if BACKEND == "torch":
        import torch

        return torch.jit.script(torch.nn.ReLU())
    if BACKEND == "tensorflow":
        import tensorflow as tf

        return tf.function(ops.relu)
    import jax

    return jax.jit(ops.relu)


def test_a_relu_inside_a_function_that_the_user_compiled_stays_the_users_own() -> None:
    mixed = iter([layers.ReLU(**WIDE), Calls(compiled_relu())])
    model = net(lambda: next(mixed))
    for _ in range(3):  # TorchScript makes its graph another one after the first runs
        with pytest.raises(ModelError):
            adapt(model).run(IMAGES, at=[""], target=Target(second), rule=guided)
    if BACKEND != "torch":  # where a trace of ours could be found again in the user's own
        close(plain_gradient(lambda x: model(x)[:, 1], IMAGES), by_hand(model, "derivative"))


def test_a_layer_of_the_users_is_refused_where_relevance_comes_to_it() -> None:
    model = net(lambda: Calls(ops.tanh))
    with pytest.raises(ModelError, match="has 'Calls'") as caught:
        METHODS["lrp-epsilon"].attribute(adapt(model), ops.convert_to_tensor(IMAGES), Target(second))
    assert str(caught.value).count("\n") == 1


def test_batch_normalisation_is_folded_into_every_kind_of_layer_before_it() -> None:
    i = image()
    x = layers.Conv2D(4, 3, name="conv", **WIDE)(i)
    x = layers.Activation("relu", **WIDE)(layers.BatchNormalization(**WIDE)(x))
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, use_bias=False, name="depthwise", **WIDE)(x)
    x = layers.ReLU(**WIDE)(layers.BatchNormalization(**WIDE)(x))
    x = layers.BatchNormalization(**WIDE)(layers.Dense(6, name="inner", **WIDE)(layers.Flatten(**WIDE)(x)))
    model = weighed(keras.Model(i, layers.Dense(4, activation="softmax", **WIDE)(layers.ReLU(**WIDE)(x))))
    for name in ("lrp-gamma", "lrp-epsilon-plus-flat"):
        one, other = (
            METHODS[name].attribute(adapt(m), ops.convert_to_tensor(IMAGES), Target(second))[0]
            for m in (model, folded(model))
        )
        close(one, other, 1e-9)


def folded(model: keras.Model) -> keras.Model:
    """The same net with the work of each normalisation done by the layer before it, by hand."""
    x = i = image()
    new: list[tuple[Any, list[np.ndarray]]] = []
    for layer in model.layers[1:]:
        if isinstance(layer, layers.BatchNormalization):
            gamma, beta, mean, variance = map(numbers, layer.weights)
            scale = gamma / np.sqrt(variance + layer.epsilon)
            before, (kernel, *bias) = new[-1]
            shape = kernel.shape[-2:] if isinstance(before, layers.DepthwiseConv2D) else (-1,)
            new[-1] = before, [kernel * scale.reshape(shape), beta + ((bias[0] if bias else 0) - mean) * scale]
        else:
            own = {"use_bias": True} if layer.weights else {}
            copy = type(layer).from_config(layer.get_config() | own | {"name": f"own_{layer.name}"})
            x = copy(x)
            if layer.weights:
                new.append((copy, [numbers(w) for w in layer.weights]))
    for layer, weights in new:
        layer.set_weights(weights)
    return keras.Model(i, x)


def test_a_branch_that_comes_from_the_other_keeps_its_relevance() -> None:
    i = image()
    x = layers.Conv2D(4, 3, padding="same", use_bias=False, **WIDE)(i)
    both = layers.Add(**WIDE)([x, layers.Conv2D(4, 3, padding="same", use_bias=False, **WIDE)(x)])
    flat = layers.Flatten(**WIDE)(both)
    adapted = adapt(weighed(keras.Model(i, layers.Dense(4, use_bias=False, **WIDE)(flat))))
    target = Target(second)
    relevance, _ = METHODS["lrp-epsilon"].attribute(adapted, adapted.array(IMAGES), target, epsilon=1e-12)
    score = numbers(adapted.run(IMAGES).outputs)[:, 1]
    np.testing.assert_allclose(numbers(relevance)[0].sum(axis=(1, 2, 3)), score, rtol=1e-6)
