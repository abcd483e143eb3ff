"""The two ends of a Keras model: heads explained at the score before them, several inputs, several outputs."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import sightline as sl
from keras_nets import IMAGES, SHAPE, WIDE, classifier, close, image, numbers, plain_gradient, subclassed, weighed
from sightline.errors import InputError, ModelError
from sightline.frameworks.keras import adapt
from sightline.model import Target

FRAMEWORKS = ("keras-tensorflow", "keras-jax", "keras-torch")


def second(outputs: Any) -> Any:
    return outputs[:, 1]


def probabilities(kind: str, scores: np.ndarray) -> np.ndarray:
    if kind == "sigmoid":
        return 1 / (1 + np.exp(-scores))
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def nested_head(kind: str) -> keras.Model:
    i = image()
    return keras.Model(i, keras.Sequential([image(), classifier(kind)], name="all")(i))


def reshaped_head(kind: str) -> keras.Model:
    model = classifier(kind)
    return keras.Model(model.input, layers.Reshape((4,), **WIDE)(layers.Reshape((2, 2), **WIDE)(model.output)))


HEADS = {
    "activation": classifier,
    "layer": lambda kind: classifier(kind, separate=True),
    "nested": nested_head,
    "subclassed": lambda kind: subclassed(getattr(ops, kind)),
    "reshaped": reshaped_head,
}


@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
@pytest.mark.parametrize("make", HEADS.values(), ids=HEADS)
def test_a_head_is_explained_at_the_score_before_it(make: Any, kind: str) -> None:
    model = make(kind)
    linear = subclassed() if make is HEADS["subclassed"] else classifier(None)
    for at in ([""], ["", "dense"] if make is classifier else [""]):
        trace = adapt(model).run(IMAGES, at=at, target=Target(second))
        assert trace.head == kind
        close(trace.outputs, linear(IMAGES), 1e-13)
        close(probabilities(kind, numbers(trace.outputs)), model(IMAGES), 1e-13)
        close(trace.grads[""][0], plain_gradient(lambda x: linear(x)[:, 1], IMAGES))


def test_a_precision_is_refused_in_two_lines() -> None:
    inputs = keras.Input((4, 4, 3))
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(inputs)))
    said = r"^precision='bfloat16' was given with a Keras model; .*\nBuild it under keras\.config\.set_dtype_policy"
    with pytest.raises(sl.ModelError, match=said):
        sl.explain(model, np.ones((1, 4, 4, 3), np.float32), method="gradient", precision="bfloat16")
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        low = keras.Model(inputs, keras.layers.Dense(2, name="low")(keras.layers.Flatten()(inputs)))
    finally:
        keras.config.set_dtype_policy("float32")
    assert "bfloat16" in sl.explain(low, np.ones((1, 4, 4, 3), np.float32), method="gradient").facts()["precision"]


def test_a_softmax_inside_the_model_is_no_head() -> None:
    i = image()
    x = layers.Flatten(**WIDE)(layers.Softmax(**WIDE)(i))
    model = weighed(keras.Model(i, layers.Dense(4, **WIDE)(x)))
    trace = adapt(model).run(IMAGES)
    assert trace.head == ""
    close(trace.outputs, model(IMAGES), 1e-14)


def test_half_precision_keeps_its_head() -> None:
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        i = keras.Input(SHAPE)
        x = layers.Conv2D(4, 3, activation="relu")(i)
        x = layers.Dense(4)(layers.Flatten()(x))
        model = keras.Model(i, layers.Activation("softmax", dtype="float32")(x))
    finally:
        keras.config.set_dtype_policy("float32")
    trace = adapt(model).run(IMAGES, at=[""], target=Target(second))
    assert trace.head == "softmax"
    assert keras.backend.standardize_dtype(trace.outputs.dtype) == "float32"
    np.testing.assert_allclose(
        probabilities("softmax", numbers(trace.outputs)), numbers(model(IMAGES.astype("float32"))), atol=1e-6
    )
    assert np.abs(numbers(trace.grads[""])).max() > 0


def two_inputs() -> keras.Model:
    i, facts = image("picture"), keras.Input((2,), name="facts", dtype="float64")
    x = layers.Concatenate(**WIDE)([layers.Flatten(**WIDE)(i), facts])
    return weighed(keras.Model({"picture": i, "facts": facts}, layers.Dense(4, activation="tanh", **WIDE)(x)))


def test_two_inputs() -> None:
    model, facts = two_inputs(), ops.convert_to_tensor(np.random.default_rng(7).normal(size=(3, 2)))
    adapted = adapt(model, input="picture", inputs={"facts": facts})
    trace = adapted.run(IMAGES, at=[""], target=Target(second))
    close(trace.outputs, model({"picture": ops.convert_to_tensor(IMAGES), "facts": facts}), 1e-14)
    close(trace.grads[""][0], plain_gradient(lambda x: model({"picture": x, "facts": facts})[:, 1], IMAGES))
    copies = adapted.run(np.concatenate([IMAGES, IMAGES]), at=[""], target=Target(second))
    close(copies.grads[""][:, 3:], trace.grads[""], 1e-12)
    with pytest.raises(InputError, match="2 images came with 3 rows of the input 'facts'"):
        adapted.run(IMAGES[:2])
    with pytest.raises(ModelError, match=r"facts, picture|picture, facts"):
        adapt(model)
    with pytest.raises(ModelError, match="facts is missing"):
        adapt(model, input="picture")


def several_outputs(as_dictionary: bool) -> keras.Model:
    i = image()
    x = layers.Flatten(**WIDE)(i)
    heads = [layers.Dense(4, name=name, activation="softmax", **WIDE)(x) for name in ("kind", "age")]
    return weighed(keras.Model(i, dict(zip(("kind", "age"), heads)) if as_dictionary else heads))


@pytest.mark.parametrize("as_dictionary", [False, True])
def test_two_outputs_each_with_its_own_head(as_dictionary: bool) -> None:
    model = several_outputs(as_dictionary)
    answers = model(IMAGES)
    for i, name in enumerate(("kind", "age")):
        expected = numbers(answers[name if as_dictionary else i])
        for output in (name, i) if not as_dictionary else (name,):
            trace = adapt(model, output=output).run(IMAGES)
            assert trace.head == "softmax"
            close(probabilities("softmax", numbers(trace.outputs)), expected, 1e-13)
    with pytest.raises(ModelError, match=r"no output was named; expected one of \w+, \w+"):
        adapt(model)
    with pytest.raises(ModelError, match="'size' was given"):
        adapt(model, output="size")


def test_one_class_of_a_softmax_is_no_head() -> None:
    """What the model gives is its probability, which hangs on all the scores."""
    model = classifier("softmax")
    one = keras.Model(model.input, model.output[:, 1:2])
    trace = adapt(one).run(IMAGES, at=[""], target=Target(lambda y: y[:, 0]))
    assert trace.head == ""
    close(trace.outputs, numbers(model(IMAGES))[:, 1:2], 1e-13)
    close(trace.grads[""][0], plain_gradient(lambda x: model(x)[:, 1], IMAGES))


@pytest.mark.parametrize("squeeze", [lambda y: y[:, 1], lambda y: ops.squeeze(y[:, 1:2], -1)])
def test_one_score_an_image_without_an_axis_of_its_own(squeeze: Any) -> None:
    model = classifier(None)
    one = keras.Model(model.input, squeeze(model.output))
    trace = adapt(one).run(IMAGES, at=[""], target=Target(lambda y: y[:, 0]))
    close(trace.outputs, numbers(model(IMAGES))[:, 1:2], 1e-14)
    close(trace.grads[""][0], plain_gradient(lambda x: model(x)[:, 1], IMAGES))


def test_a_parameter_as_long_as_the_batch_is_no_batch() -> None:
    """JAX fills a batch up to one that it has compiled; a kernel of three rows is not filled up with it."""
    model = classifier(None)
    adapted = adapt(model)
    conv = next(layer for layer in adapted.places(IMAGES) if layer.kind == "conv2d")
    kernel = next(v for v in model.variables if v.path.endswith("/kernel") and len(v.shape) == 4)
    assert kernel.shape[0] == len(IMAGES) == 3
    edit = {next(place for place in conv.parameters if place.endswith("kernel")): 2 * numbers(kernel.value)}
    more = adapted.run(np.concatenate([IMAGES, IMAGES[:2]]), edit=edit)
    close(adapted.run(IMAGES, edit=edit).outputs, numbers(more.outputs)[:3], 1e-13)


@pytest.mark.parametrize(("policy", "error"), [("mixed_float16", 4e-3), ("mixed_bfloat16", 3e-2), ("float64", 1e-5)])
def test_masks_of_a_layer_in_another_precision_go_over_the_image(policy: str, error: float) -> None:
    def net(dtype: str) -> keras.Model:
        keras.utils.set_random_seed(1)
        keras.config.set_dtype_policy(dtype)
        parts = [keras.layers.Conv2D(4, 3, activation="relu"), keras.layers.GlobalAveragePooling2D()]
        return keras.Sequential([keras.Input((12, 10, 3)), *parts, keras.layers.Dense(3)])

    before = keras.config.dtype_policy()
    try:
        other, plain = net(policy), net("float32")
        other.set_weights(plain.get_weights())
    finally:
        keras.config.set_dtype_policy(before)
    x = np.random.default_rng(0).uniform(0, 1, (1, 12, 10, 3)).astype(np.float32)
    found, expected = (sl.explain(m, x, method="score-cam", target=1).attribution for m in (other, plain))
    np.testing.assert_allclose(found, expected, rtol=0, atol=error * np.abs(expected).max())


def test_what_keras_says_in_bold_is_told() -> None:
    flat = keras.Sequential([keras.Input((12,)), layers.Dense(3)])
    with pytest.raises(
        ModelError, match=r"failed on an input of shape \(1, 4, 4, 3\): .*(nvalid input shape|ncompatible)"
    ):
        sl.explain(flat, np.ones((1, 4, 4, 3), np.float32), method="gradient")
