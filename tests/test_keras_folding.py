"""Batch norms folded into convolutions by TensorFlow's passes: the same values, and not where anyone would see it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import sightline as sl
from keras_nets import close, numbers
from sightline.frameworks.keras import adapt, passes, tensorflow
from sightline.model import Target

FRAMEWORKS = ("keras-tensorflow",)
FOLDED = "channels_last, batch norms folded where nothing asks for them"


def second(outputs: Any) -> Any:
    return outputs[:, 1]


def first_block(x: Any) -> Any:
    x = layers.Conv2D(6, 3, strides=2, padding="same", use_bias=False, name="conv")(x)
    x = layers.BatchNormalization(epsilon=0.1, name="norm")(x)
    return layers.ReLU(6.0, name="relu")(x)


def chain(x: Any) -> Any:
    """One after the other: strides, a bias, two channels of one, dilation, no γ and no β."""
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same", name="depthwise")(first_block(x))
    x = layers.BatchNormalization(scale=False, name="norm2")(x)
    x = layers.Conv2D(8, (1, 3), dilation_rate=(1, 2), name="dilated")(layers.ReLU(name="relu2")(x))
    x = layers.BatchNormalization(center=False, name="norm3")(x)
    return layers.ReLU(name="relu3")(x)


def grouped(x: Any) -> Any:
    return layers.BatchNormalization(name="norm")(layers.Conv2D(6, 3, groups=3, name="conv")(x))


def read_twice(x: Any) -> Any:
    y = layers.Conv2D(6, 3, padding="same", name="conv")(x)
    return layers.Add(name="add")([layers.BatchNormalization(name="norm")(y), y])


def activated(x: Any) -> Any:
    y = layers.Conv2D(6, 3, activation="relu", name="conv")(x)
    return layers.BatchNormalization(name="norm")(y)


def of_another_axis(x: Any) -> Any:
    return layers.BatchNormalization(axis=1, name="norm")(layers.Conv2D(6, 3, name="conv")(x))


class Own(layers.Layer):
    """One that calls a convolution and a norm itself, and does something of its own with them."""

    def __init__(self, do: Callable[[Any, Any, Any], Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.conv, self.norm, self.do = layers.Conv2D(4, 3), layers.BatchNormalization(), do

    def build(self, shape: Any) -> None:
        self.conv.build(shape)
        self.norm.build(self.conv.compute_output_shape(shape))

    def call(self, x: Any) -> Any:
        return self.do(self.conv, self.norm, x)


def by_the_batch(conv: Any, norm: Any, x: Any) -> Any:
    return norm(conv(x), training=True)


def by_keyword(conv: Any, norm: Any, x: Any) -> Any:
    return norm(inputs=conv(inputs=x))


def with_a_gradient_inside(conv: Any, norm: Any, x: Any) -> Any:
    y = conv(x)
    with tf.GradientTape() as tape:
        tape.watch(y)
        z = tf.tanh(norm(y))
    return z + tape.gradient(z, y)


def of_weights_less_their_mean(conv: Any, norm: Any, x: Any) -> Any:
    before = conv.kernel.value + 0
    conv.kernel.assign(before - keras.ops.mean(before))
    y = conv(x)
    conv.kernel.assign(before)
    return norm(y)


def in_a_model_that_gives_both(x: Any) -> Any:
    y = keras.Input(x.shape[1:])
    conv = layers.Conv2D(6, 3, padding="same", name="conv")(y)
    inner = keras.Model(y, [conv, layers.BatchNormalization(name="norm")(conv)], name="inner")
    return layers.Add()(inner(x))


BODIES = {f.__name__: f for f in (chain, read_twice, activated, of_another_axis, grouped, in_a_model_that_gives_both)}
DOINGS = {f.__name__: f for f in (by_the_batch, by_keyword, with_a_gradient_inside, of_weights_less_their_mean)}
BODIES |= {name: lambda x, do=do: layers.ReLU()(Own(do, name="own")(x)) for name, do in DOINGS.items()}
X = np.random.default_rng(1).uniform(size=(2, 12, 12, 3))


def made(body: Callable[[Any], Any], dtype: str = "float32") -> keras.Model:
    """A net with the same weights in any precision."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype)
    try:
        image = keras.Input((12, 12, 3), dtype=dtype)
        y = layers.GlobalAveragePooling2D(name="pool")(body(image))
        model = keras.Model(image, layers.Dense(3, name="dense")(y))
    finally:
        keras.config.set_dtype_policy(before)
    rng = np.random.default_rng(0)
    drawn = [(v, rng.uniform(-0.4, 1, v.shape)) for v in model.weights]
    model.set_weights([abs(w) + 0.5 if "variance" in v.path else w for v, w in drawn])
    return model


def exact(model: keras.Model, at: str = "") -> tuple[np.ndarray, np.ndarray]:
    """The scores of the second class and their gradient at a layer, by an eager tape."""
    both = keras.Model(model.inputs, [model.get_layer(at).output if at else model.inputs[0], model.output])
    x = tf.constant(X, model.inputs[0].dtype)
    with tf.GradientTape() as tape:
        tape.watch(x)
        value, outputs = both(x, training=False)
        score = outputs[:, 1]
    return numbers(score), numbers(tape.gradient(score, value))


def operations(model: keras.Model) -> dict[str, Any]:
    """The operations, by name, that the outputs of a pass need: TensorFlow leaves out all others."""
    keras_model = adapt(model)
    keras_model.run(keras_model.array(X))
    (compiled,) = [c for c in passes._passes[model].values() if hasattr(c, "function")]
    graph = compiled.function.graph
    needed, found = [t.op for t in graph.outputs], dict[str, Any]()
    while needed:
        op = needed.pop()
        if op.name not in found:
            found[op.name] = op
            needed += [t.op for t in op.inputs]
    return found


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("body", BODIES)
def test_a_pass_gives_the_models_own_values(body: str, dtype: str) -> None:
    model = adapt(made(BODIES[body], dtype))
    trace = model.run(model.array(X), at=[""], target=Target(second))
    score, gradient = exact(made(BODIES[body], "float64"))
    rtol = 1e-12 if dtype == "float64" else 1e-5
    close(trace.score[0], score, rtol)
    close(trace.grads[""][0], gradient, rtol)


def test_the_convolutions_are_as_many_as_before_and_the_norms_are_gone() -> None:
    model = made(chain)
    found = operations(model).values()
    assert sorted(op.type for op in found if "Conv" in op.type) == ["Conv2D", "Conv2D", "DepthwiseConv2dNative"]
    assert {op.inputs[0].op.type for op in found if "Relu" in op.type} == {"BiasAdd"}  # straight after a convolution
    assert adapt(model).computed["layout"] == FOLDED


@pytest.mark.parametrize("body", [body for body in BODIES if body != "chain"])
def test_a_norm_that_is_more_than_that_runs(body: str) -> None:
    model = made(BODIES[body])
    found = [op.type for op in operations(model).values()]
    assert found.count("Conv2D") == (body != "grouped")
    assert adapt(model).computed["layout"] == "channels_last"


@pytest.mark.parametrize("place", ["conv", "norm", "depthwise", "norm2", "relu"])
def test_a_layer_on_the_way_has_its_own_value_and_gradient(place: str) -> None:
    model = adapt(made(chain, "float64"))
    for name in (place, f":{place}"):
        trace = model.run(model.array(X), at=[name], target=Target(second))
        if name == place:
            close(trace.grads[name][0], exact(made(chain, "float64"), place)[1], 1e-12)
        edited = model.run(model.array(X), edit={name: lambda y: y * 0.5}, target=Target(second))
        assert abs(numbers(edited.score) - numbers(trace.score)).max() > 1e-3
        again = model.run(model.array(X), edit={name: trace.values[name]}, target=Target(second))
        close(again.score, trace.score, 1e-12)


def test_new_weights_are_seen_by_the_program_that_is_there() -> None:
    net = made(chain, "float64")
    model = adapt(net)
    before = numbers(model.run(model.array(X)).outputs)
    net.get_layer("conv").kernel.assign(net.get_layer("conv").kernel * 1.5)
    net.get_layer("norm2").moving_mean.assign(net.get_layer("norm2").moving_mean + 0.3)
    after = numbers(model.run(model.array(X)).outputs)
    close(after, net(X, training=False), 1e-12)
    assert abs(after - before).max() > 1e-3


def test_what_a_layer_leaves_out_is_left_out() -> None:
    net = made(chain, "float64")
    net.get_layer("norm").scale = net.get_layer("norm").center = net.get_layer("depthwise").use_bias = False
    model = adapt(net)
    close(model.run(model.array(X)).outputs, net(X, training=False), 1e-12)


def test_a_class_whose_call_is_the_users_own_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    own = layers.BatchNormalization.call
    thrice = lambda self, x, training=None, mask=None: own(self, x, training=training, mask=mask) * 3  # noqa: E731
    monkeypatch.setattr(layers.BatchNormalization, "call", thrice)
    net = made(chain, "float64")
    model = adapt(net)
    close(model.run(model.array(X)).outputs, net(X, training=False), 1e-12)


def test_a_layer_whose_call_is_the_users_own_is_asked() -> None:
    net = made(chain, "float64")
    norm = net.get_layer("norm")
    object.__setattr__(norm, "call", lambda x, training=None, mask=None: x * 2)
    model = adapt(net)
    close(model.run(model.array(X)).outputs, net(X, training=False), 1e-12)


@pytest.mark.parametrize("method", ["grad-cam", "guided-backprop", "lrp-epsilon", "deep-lift", "score-cam", "rise"])
def test_methods_find_what_they_find_of_the_norms_as_they_are(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"samples": 8} if method == "rise" else {"layer": "norm2"} if method.endswith("cam") else {}
    found = sl.explain(made(chain, "float64"), X, method=method, target=1, **options)
    monkeypatch.setattr(tensorflow, "ENGINE", replace(tensorflow.ENGINE, biased=None))
    expected = sl.explain(made(chain, "float64"), X, method=method, target=1, **options)
    assert expected.facts()["layout"] == "channels_last"
    close(found.attribution, expected.attribution, 1e-6)
