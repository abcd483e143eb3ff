"""Keras models behind the seam: places, values, gradients, edits and tails."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_nets import (
    BACKEND,
    IMAGES,
    SHAPE,
    WIDE,
    classifier,
    close,
    image,
    numbers,
    plain_gradient,
    slope,
    subclassed,
    weighed,
)
from sightline.errors import LayerError, ModelError, TargetError
from sightline.frameworks.keras import adapt
from sightline.model import Target
from sightline.tail import Tail

FRAMEWORKS = ("keras-tensorflow", "keras-jax", "keras-torch")
DEEP = "outer/backbone/"


def second(outputs: Any) -> Any:
    return outputs[:, 1]


def three(outputs: Any) -> Any:
    return ops.stack([outputs[:, 0], outputs[:, 1] - outputs[:, 2], ops.sum(outputs**2, axis=-1)])


def sequential() -> keras.Model:
    conv = layers.Conv2D(4, 3, activation="relu", name="conv", **WIDE)
    return weighed(keras.Sequential([image(), conv, layers.Flatten(**WIDE), layers.Dense(4, name="dense", **WIDE)]))


LINEAR = {"functional": lambda: classifier(None), "sequential": sequential, "subclassed": subclassed}
every_linear = pytest.mark.parametrize("make", LINEAR.values(), ids=LINEAR)


def test_places_come_in_the_order_of_the_pass_with_their_facts() -> None:
    model = classifier()
    found = adapt(model).places(IMAGES)
    inner = ["conv1", "norm", "conv2", "add", "relu6"]
    names = [layer.name for layer in found]
    assert names[:8] == ["", *(DEEP + name for name in inner), "outer/backbone", "outer"]
    assert [name.rstrip("_0123456789") for name in names[8:]] == ["subtract", "relu", "pool", "flatten", "dense"]
    by_name = {layer.name: layer for layer in found}
    assert by_name[""].shape == SHAPE
    assert by_name[DEEP + "conv1"].shape == (8, 8, 5)
    assert by_name[DEEP + "conv1"].kind == "conv2d"
    assert by_name["pool"].grid == (4, 4)
    assert by_name["dense"].grid is None
    assert {name for name, layer in by_name.items() if layer.weighted} == {
        DEEP + "conv1",
        DEEP + "norm",
        DEEP + "conv2",
        "dense",
    }
    assert by_name["dense"].object is model.get_layer("dense")


@every_linear
def test_outputs_and_gradients_are_the_models_own(make: Any) -> None:
    model = make()
    trace = adapt(model).run(IMAGES, at=[""], target=Target(second))
    assert trace.head == ""
    close(trace.outputs, model(IMAGES, training=False), 1e-14)
    close(trace.score[0], numbers(model(IMAGES, training=False))[:, 1], 1e-14)
    close(trace.grads[""][0], plain_gradient(lambda x: model(x, training=False)[:, 1], IMAGES))


@every_linear
def test_several_targets_in_one_pass(make: Any) -> None:
    model = make()
    trace = adapt(model).run(IMAGES, at=[""], target=Target(three))
    for i in range(3):
        expected = plain_gradient(lambda x, i=i: three(model(x, training=False))[i], IMAGES)
        close(trace.grads[""][i], expected)


@pytest.mark.parametrize(
    "place", [DEEP + "conv1", DEEP + "norm", DEEP + "conv2", DEEP + "relu6", "outer", ":pool", "pool"]
)
def test_the_gradient_at_a_layer_is_the_slope_of_the_score_there(place: str) -> None:
    adapted = adapt(classifier())
    trace = adapted.run(IMAGES, at=[place], target=Target(three))
    value = numbers(trace.values[place])
    way = np.random.default_rng(3).normal(size=value.shape)
    found = slope(lambda a: adapted.run(IMAGES, edit={place: a}, target=Target(three)).score, value, way)
    expected = (numbers(trace.grads[place]) * way).reshape(3, 3, -1).sum(-1)
    close(found, expected, 1e-6)


def test_gradients_at_several_places_of_one_path_are_those_of_each_alone() -> None:
    adapted = adapt(classifier())
    places = ["", DEEP + "conv1", DEEP + "add", "pool", "dense"]
    together = adapted.run(IMAGES, at=places, target=Target(second))
    for place in places:
        alone = adapted.run(IMAGES, at=[place], target=Target(second))
        close(together.grads[place], alone.grads[place])
        close(together.values[place], alone.values[place], 1e-14)


def test_an_edit_by_an_array_or_a_function_reaches_what_follows() -> None:
    model = classifier(None)
    adapted = adapt(model)
    value = adapted.run(IMAGES, at=["pool"]).values["pool"]
    kernel, bias = (numbers(w) for w in model.get_layer("dense").weights)
    expected = np.maximum(numbers(value) - 0.5, 0).reshape(3, -1) @ kernel + bias
    by_function = adapted.run(IMAGES, at=["pool"], edit={"pool": lambda a: ops.relu(a - 0.5)}, target=Target(second))
    by_array = adapted.run(IMAGES, edit={"pool": np.maximum(numbers(value) - 0.5, 0)})
    close(by_function.outputs, expected)
    close(by_array.outputs, expected)
    close(by_function.values["pool"], np.maximum(numbers(value) - 0.5, 0), 1e-14)
    close(adapted.run(IMAGES, edit={":dense": numbers(value).reshape(3, -1)}).outputs, model(IMAGES), 1e-14)
    close(adapted.run(IMAGES, edit={"": 2 * IMAGES}).outputs, model(2 * IMAGES), 1e-14)
    close(adapted.run(IMAGES).outputs, model(IMAGES), 1e-14)


def test_the_tail_across_a_skip_connection_gives_the_models_scores_and_gradients() -> None:
    adapted = adapt(classifier())
    layer = next(found for found in adapted.places(IMAGES) if found.name == DEEP + "conv2")
    whole = adapted.run(IMAGES, at=[layer.name, "pool"], target=Target(second))
    tail = Tail(adapted, layer, adapted.array(IMAGES))
    trace = tail.run(whole.values[layer.name], at=["", "pool"], target=Target(second))
    close(trace.score, whole.score, 1e-14)
    close(trace.grads[""], whole.grads[layer.name])
    close(trace.grads["pool"], whole.grads["pool"])
    twice = tail.run(np.concatenate([numbers(whole.values[layer.name])] * 2), target=Target(second))
    close(twice.score, np.concatenate([numbers(whole.score)] * 2, axis=1), 1e-13)
    assert [found.name for found in tail.places(None)][:3] == ["", DEEP + "add", DEEP + "relu6"]


def test_a_layer_called_twice_is_two_places() -> None:
    i = image()
    shared = layers.Conv2D(3, 3, padding="same", name="shared", **WIDE)
    model = weighed(keras.Model(i, layers.Flatten(**WIDE)(shared(ops.sin(shared(i))))))
    adapted = adapt(model)
    assert [layer.name for layer in adapted.places(IMAGES)][:4] == ["", "shared", "sin", "shared:2"]
    trace = adapted.run(IMAGES, at=["shared", "shared:2"], target=Target(second))
    once = model.get_layer("shared")
    close(trace.values["shared"], once(IMAGES), 1e-14)
    close(trace.values["shared:2"], once(ops.sin(once(IMAGES))), 1e-14)
    close(trace.grads["shared"][0], plain_gradient(lambda a: once(ops.sin(a))[:, 0, 0, 1], trace.values["shared"]))


def test_a_layer_that_the_score_does_not_hang_on_has_a_gradient_of_zeros() -> None:
    i = image()
    flat = layers.Flatten(**WIDE)
    one, two = layers.Dense(4, name="one", **WIDE)(flat(i)), layers.Dense(4, name="two", **WIDE)(flat(i))
    adapted = adapt(weighed(keras.Model(i, [one, two])), output="two")
    trace = adapted.run(IMAGES, at=["one"], target=Target(second))
    assert np.abs(numbers(trace.values["one"])).max() > 0
    close(trace.grads["one"], np.zeros((1, 3, 4)))
    constant = adapted.run(IMAGES, at=["one", ""], target=Target(lambda outputs: ops.zeros_like(outputs[:, 0])))
    close(constant.grads[""], np.zeros((1, *IMAGES.shape)))


def test_a_target_with_arrays_asks_each_image_its_own_question() -> None:
    def weighted(outputs: Any, weights: Any) -> Any:
        return ops.sum(outputs * weights, axis=-1)

    model = classifier(None)
    weights = ops.convert_to_tensor(np.random.default_rng(5).normal(size=(3, 4)))
    trace = adapt(model).run(IMAGES, at=[""], target=Target(weighted, (weights,)))
    close(trace.score, (numbers(model(IMAGES)) * numbers(weights)).sum(-1)[None], 1e-13)
    close(trace.grads[""][0], plain_gradient(lambda x: ops.sum(model(x) * weights, axis=-1), IMAGES))
    close(adapt(model).run(IMAGES, target=lambda outputs: outputs[:, 2]).score[0], numbers(model(IMAGES))[:, 2], 1e-14)


def test_fewer_images_than_before_get_the_answer_of_their_own() -> None:
    adapted = adapt(classifier())
    whole = adapted.run(IMAGES, at=["", "pool"], target=Target(three))
    part = adapted.run(IMAGES[:2], at=["", "pool"], target=Target(three))
    close(part.outputs, whole.outputs[:2], 1e-13)
    close(part.score, whole.score[:, :2], 1e-13)
    close(part.values["pool"], whole.values["pool"][:2], 1e-13)
    close(part.grads[""], whole.grads[""][:, :2], 1e-12)


def test_a_recurrent_layer_is_one_place() -> None:
    i = image()
    rows = layers.LSTM(4, name="rows", **WIDE)(layers.Reshape((8, 24), **WIDE)(i))
    model = weighed(keras.Model(i, layers.Dense(4, activation="softmax", **WIDE)(rows)))
    adapted = adapt(model)
    places = [layer.name for layer in adapted.places(IMAGES)]
    trace = adapted.run(IMAGES, at=places, target=Target(second))
    kernel = numbers(model.layers[-1].kernel)[:, 1]
    close(trace.grads["rows"][0], np.tile(kernel, (3, 1)))
    column = ops.convert_to_tensor(kernel[:, None])
    close(trace.grads[""][0], plain_gradient(lambda x: model.layers[2](model.layers[1](x)) @ column, IMAGES))


def test_channels_first() -> None:
    i = keras.Input((3, 8, 8), dtype="float64")
    conv = layers.Conv2D(5, 3, data_format="channels_first", activation="relu", name="conv", **WIDE)
    if BACKEND == "tensorflow":  # whose CPU has no such convolution
        assert adapt(keras.Model(i, layers.Flatten(**WIDE)(conv(i)))).channel == -3
        return
    model = weighed(keras.Model(i, layers.Dense(4, **WIDE)(layers.Flatten(**WIDE)(conv(i)))))
    x = IMAGES.transpose(0, 3, 1, 2)
    adapted = adapt(model)
    assert adapted.channel == -3
    layer = adapted.places(x)[1]
    assert (layer.name, layer.shape, layer.channel, layer.grid) == ("conv", (5, 6, 6), -3, (6, 6))
    trace = adapted.run(x, at=[""], target=Target(second))
    close(trace.grads[""][0], plain_gradient(lambda a: model(a)[:, 1], x))


def test_a_parameter_can_be_recorded_and_replaced_but_not_differentiated() -> None:
    model = classifier(None)
    adapted = adapt(model)
    kernel = numbers(model.get_layer("dense").kernel)
    close(adapted.run(IMAGES, at=["=dense/kernel"]).values["=dense/kernel"], kernel, 1e-15)
    bias = numbers(model.get_layer("dense").bias)
    close(adapted.run(IMAGES, edit={"=dense/kernel": 0 * kernel}).outputs, np.tile(bias, (3, 1)), 1e-13)
    close(model.get_layer("dense").kernel, kernel, 1e-15)
    with pytest.raises(ModelError, match="parameter '=dense/kernel'"):
        adapted.run(IMAGES, at=["=dense/kernel"], target=Target(second))


def test_what_cannot_be_explained_says_so() -> None:
    adapted = adapt(classifier())
    with pytest.raises(LayerError, match="Did you mean 'outer/backbone/conv2'"):
        adapted.run(IMAGES, at=["outer/backbone/conv3"])
    with pytest.raises(TargetError, match=r"scores of shape \(\)"):
        adapted.run(IMAGES, target=Target(lambda outputs: ops.sum(outputs)))

    class Unbuilt(keras.Model):
        pass

    with pytest.raises(ModelError, match="not built"):
        adapt(Unbuilt())
    whole = keras.Input(SHAPE, dtype="uint8")
    numbers_in = keras.Model(whole, layers.Dense(2)(layers.Flatten()(layers.Rescaling(1 / 255)(whole))))
    with pytest.raises(ModelError, match="uint8"):
        adapt(numbers_in).run(np.ones((1, *SHAPE), "uint8"), at=[""], target=Target(second))
