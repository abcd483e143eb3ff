"""The user's Keras model is left alone, by one thread and by many; what changes in it is seen; nothing keeps it alive."""

from __future__ import annotations

import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops
from PIL import Image

import sightline as sl
from keras_nets import BACKEND, IMAGES, WIDE, classifier, close, image, numbers, plain_gradient, subclassed, weighed
from sightline.errors import ModelError
from sightline.frameworks.keras import adapt
from sightline.model import Target
from sightline.rules import guided

FRAMEWORKS = ("keras-tensorflow", "keras-jax", "keras-torch")


def second(outputs: Any) -> Any:
    return outputs[:, 1]


class StopError(Exception):
    """Thrown by a layer in the middle of a pass."""


class Trip(layers.Layer):
    """A layer that throws when it is told to, and that keeps a loss and draws random numbers."""

    def __init__(self) -> None:
        super().__init__(**WIDE)
        self.armed, self.seeds = [], keras.random.SeedGenerator(3)

    def call(self, x: Any) -> Any:
        self.add_loss(ops.sum(x))
        keras.random.normal((2,), seed=self.seeds)
        if self.armed:
            raise StopError("tripped")
        return x + 0


def with_trip() -> keras.Model:
    i = image()
    x = layers.Conv2D(4, 3, activation="relu", activity_regularizer="l2", name="conv", **WIDE)(i)
    x = layers.Dropout(0.5, **WIDE)(layers.BatchNormalization(**WIDE)(Trip()(x)))
    return weighed(
        keras.Model(i, layers.Dense(4, activation="softmax", name="dense", **WIDE)(layers.Flatten(**WIDE)(x)))
    )


def state(model: keras.Model) -> dict[str, Any]:
    """All that a pass must leave alone, ready to be compared bit by bit."""
    found: dict[str, Any] = {}
    for layer in model._flatten_layers():
        plain = {
            name: value for name, value in vars(layer).items() if isinstance(value, (int, float, str, tuple, bool))
        }
        held = {name: id(value) for name, value in vars(layer).items()}
        hooks = len(getattr(layer, "_forward_hooks", ()))
        found[layer.path] = (plain, held, hooks, len(layer._inbound_nodes), len(layer._losses), layer.trainable)
    for variable in model.variables:
        found["=" + variable.path] = (id(variable), variable.trainable, numbers(variable).tobytes())
        if BACKEND == "torch":
            value = variable.value
            found["=" + variable.path] += (id(value), value.requires_grad, value._version, value.grad)
    return found


@pytest.mark.parametrize("tripped", [False, True])
def test_the_model_is_bit_identical_afterwards(tripped: bool) -> None:
    model = with_trip()
    trip = next(layer for layer in model.layers if isinstance(layer, Trip))
    adapted = adapt(model)
    adapted.places(IMAGES)
    before = state(model)
    calls = (type(model).__call__, layers.Dense.call, keras.activations.relu)
    if tripped:
        trip.armed.append(True)
        with pytest.raises(StopError):
            adapted.run(IMAGES, at=["", "conv"], target=Target(second), rule=guided)
        trip.armed.clear()
    else:
        adapted.run(IMAGES, at=["", "conv"], edit={"dense": lambda a: a}, target=Target(second), rule=guided)
    assert state(model) == before
    assert calls == (type(model).__call__, layers.Dense.call, keras.activations.relu)
    expected = plain_gradient(lambda x: ops.log(model(x, training=False))[:, 1], IMAGES)
    close(plain_gradient(lambda x: ops.log(model(x, training=False))[:, 1], IMAGES), expected, 1e-14)
    trace = adapted.run(IMAGES, at=[""], target=Target(lambda z: z[:, 1] - ops.logsumexp(z, axis=-1)))
    close(trace.grads[""][0], expected)


def test_eight_threads_find_what_one_finds() -> None:
    model = classifier()
    places = ("", "outer/backbone/conv1")
    rules = (None, guided)
    jobs = [(rows, place, rule) for rows in (1, 2, 3) for place in places for rule in rules]

    def find(rows: int, place: str, rule: Any) -> np.ndarray:
        return numbers(adapt(model).run(IMAGES[:rows], at=[place], target=Target(second), rule=rule).grads[place])

    alone = weighed(classifier())
    expected = {
        job: numbers(adapt(alone).run(IMAGES[: job[0]], at=[job[1]], target=Target(second), rule=job[2]).grads[job[1]])
        for job in jobs
    }
    with ThreadPoolExecutor(8) as pool:
        for job, found in [(job, pool.submit(find, *job)) for job in jobs * 3]:
            close(found.result(), expected[job], 1e-12)


@pytest.mark.parametrize("make", [classifier, subclassed], ids=["functional", "subclassed"])
def test_another_threads_own_gradients_stay_right(make: Any) -> None:
    model = make()
    guides = numbers(adapt(make()).run(IMAGES, at=[""], target=Target(second), rule=guided).grads[""])
    expected = plain_gradient(lambda x: model(x, training=False)[:, 1], IMAGES)
    wrong: list[float] = []
    done = threading.Event()

    def differentiate() -> None:
        while not done.is_set():
            found = plain_gradient(lambda x: model(x, training=False)[:, 1], IMAGES)
            wrong.append(float(np.abs(found - expected).max()))

    other = threading.Thread(target=differentiate)
    other.start()
    try:
        for k in (1, 2, 3, 4):  # each target is new, so that each pass is traced
            trace = adapt(model).run(IMAGES, at=[""], target=Target(lambda z, k=k: z[:, 1] * k), rule=guided)
            close(trace.grads[""], guides * k)
    finally:
        done.set()
        other.join()
    assert wrong
    assert max(wrong) < 1e-9 * np.abs(expected).max()


def fitted(model: keras.Model) -> list[np.ndarray]:
    """The weights after a few steps of training that are the same each time."""
    model.compile(optimizer=keras.optimizers.SGD(0.01), loss="mse")
    model.fit(np.tile(IMAGES, (8, 1, 1, 1)), np.ones((24, 4)), batch_size=3, epochs=8, shuffle=False, verbose=0)
    return [numbers(w) for w in model.weights]


def test_fit_in_another_thread_learns_what_it_learns_alone() -> None:
    expected = fitted(classifier(None))
    model = classifier(None)
    learned: list[list[np.ndarray]] = []
    trainer = threading.Thread(target=lambda: learned.append(fitted(model)))
    trainer.start()
    while trainer.is_alive():
        try:
            trace = adapt(model).run(IMAGES, at=["", "pool"], target=Target(second), rule=guided)
            assert np.isfinite(numbers(trace.grads[""])).all()
        except ModelError as error:  # JAX takes the weights away while it trains
            assert BACKEND == "jax" and "in a call of fit" in str(error)
    trainer.join()
    for found, one in zip(learned[0], expected):
        close(found, one, 1e-10)
    close(adapt(model).run(IMAGES).outputs, model(IMAGES, training=False), 1e-13)


def test_new_weights_are_seen_by_the_next_pass() -> None:
    model = classifier(None)
    adapted = adapt(model)
    adapted.run(IMAGES, at=[""], target=Target(second))
    weighed(model, seed=8)
    close(adapted.run(IMAGES, at=[""], target=Target(second)).outputs, model(IMAGES, training=False), 1e-13)
    fitted(model)
    trace = adapted.run(IMAGES, at=[""], target=Target(second))
    close(trace.outputs, model(IMAGES, training=False), 1e-13)
    close(trace.grads[""][0], plain_gradient(lambda x: model(x, training=False)[:, 1], IMAGES))


def test_within_a_call_new_values_of_the_weights_are_seen() -> None:
    model = classifier()
    adapted = adapt(model)
    with adapted.held():
        adapted.places(IMAGES)
        before = numbers(adapted.run(IMAGES).outputs)
        model.set_weights([w * 1.5 for w in model.get_weights()])
        after = numbers(adapted.run(IMAGES).outputs)
    assert np.abs(after - before).max() > 1e-3
    close(after, adapted.run(IMAGES).outputs)


def test_a_new_activation_or_layer_is_seen_by_the_next_pass() -> None:
    conv = layers.Conv2D(4, 3, activation="relu", name="conv", **WIDE)
    model = weighed(keras.Sequential([image(), conv, layers.Flatten(**WIDE), layers.Dense(4, **WIDE)]))
    adapted = adapt(model)
    adapted.run(IMAGES, at=["conv"], target=Target(second))
    conv.activation = keras.activations.tanh
    trace = adapted.run(IMAGES, at=["conv"], target=Target(second))
    close(trace.outputs, model(IMAGES), 1e-13)
    assert numbers(trace.values["conv"]).min() < 0
    model.pop()
    model.add(layers.Dense(3, activation="softmax", **WIDE))
    trace = adapted.run(IMAGES, at=["conv"], target=Target(second))
    assert trace.head == "softmax"
    close(ops.softmax(trace.outputs), model(IMAGES), 1e-13)


@pytest.mark.parametrize("make", [classifier, subclassed], ids=["functional", "subclassed"])
def test_a_model_that_is_dropped_is_freed(make: Any) -> None:
    model = make()
    adapted = adapt(model)
    adapted.places(IMAGES)
    for rule in (None, guided):
        adapted.run(IMAGES, at=["", adapted.places(IMAGES)[1].name], target=Target(second), rule=rule)
    watched = [weakref.ref(model), weakref.ref(model.weights[0])]
    del model, adapted
    keras.backend.clear_session()
    gc.collect()
    assert [ref() is None for ref in watched] == [True, True]


@pytest.mark.assets
def test_the_trained_net_names_the_cat(assets: Path) -> None:
    picture = Image.open(assets / "images" / "cat.png").convert("RGB")
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    square = picture.crop((left, top, left + side, top + side)).resize((224, 224), Image.Resampling.BILINEAR)
    x = np.asarray(square, "float32")[None] / 127.5 - 1
    model = keras.models.load_model(assets / "mobilenet_v2.keras", compile=False)
    trace = adapt(model).run(x, at=["out_relu"], target=Target(lambda z: ops.max(z, axis=-1)))
    assert trace.head == "softmax"
    probabilities = numbers(ops.softmax(trace.outputs))[0]
    assert probabilities.argmax() == 285
    assert probabilities[285] == pytest.approx(0.64, abs=0.02)
    kernel = numbers(model.layers[-1].kernel)[:, 285]  # after the mean over the 7 x 7 places
    close(trace.grads["out_relu"][0, 0], np.broadcast_to(kernel / 49, (7, 7, 1280)), 1e-5)


def test_compiling_is_left_to_keras() -> None:
    with pytest.raises(ModelError, match=r"compile=True was given with .*, which is no PyTorch model"):
        sl.explain(classifier(), np.zeros((1, *IMAGES.shape[1:]), np.float32), compile=True)
