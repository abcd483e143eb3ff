"""Errors of other libraries on Keras, seen in them by running; each test shows that sightline does not make it.

The numbers run on from `test_peers_errors_torch.py`. The peers work on TensorFlow alone; here every backend is asked.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import paper
import sightline as sl
from nets import build, snapshot, use_float64
from sightline.method import METHODS

FRAMEWORKS = ("keras-tensorflow", "keras-jax", "keras-torch")
use_float64()

NET = paper.small_net()
IMAGES = np.random.default_rng(0).normal(size=(3, 12, 12, 3))
WIDE: dict[str, Any] = {"dtype": "float64"}


def explained(model: Any, images: Any = IMAGES, **options: Any) -> sl.Explanation:
    answer = sl.explain(model, images, **options)
    assert isinstance(answer, sl.Explanation)
    return answer


def with_head(head: Any) -> keras.Model:
    """The small net with something behind its scores."""
    net = build(NET)
    return keras.Model(net.inputs, head(net.outputs[0]))


def test_25_the_softmax_is_left_out_as_a_layer_of_its_own_too() -> None:
    """tf-keras-vis ReplaceToLinear does nothing to a separate Softmax layer; xplique WhiteBoxExplainer ignores
    output_layer, so that "logits" give the map of the softmax; keras.io and tf-explain #54 change the user's model."""
    expected = explained(build(NET), target=2, method="gradient")
    for head in (
        layers.Softmax(**WIDE),
        layers.Activation("softmax", **WIDE),
        lambda x: layers.Reshape((5,), **WIDE)(ops.softmax(x)),
    ):
        model = with_head(head)
        before = snapshot(model)
        answer = explained(model, target=2, method="gradient")
        np.testing.assert_allclose(answer.attribution, expected.attribution, atol=1e-6)
        np.testing.assert_allclose(answer.score, expected.score, rtol=1e-6)
        assert answer.head == "softmax"
        assert snapshot(model) == before


def nested_relus(kind: str) -> keras.Model:
    """Two convolutions, the first inside a model of its own, with ReLUs written in one of five ways."""

    def relu(x: Any) -> Any:
        made = {"layer": layers.ReLU(**WIDE), "six": layers.ReLU(max_value=6.0, **WIDE), "ops": ops.relu}
        made |= {"activation": layers.Activation("relu", **WIDE), "relu6": layers.Activation("relu6", **WIDE)}
        return made[kind](x)

    image, inner = (keras.Input((12, 12, 3), **WIDE) for _ in range(2))
    inside = keras.Model(inner, relu(layers.Conv2D(4, 3, padding="same", **WIDE)(inner)))
    x = relu(layers.Conv2D(4, 3, padding="same", **WIDE)(inside(image)))
    model = keras.Model(image, layers.Dense(3, **WIDE)(layers.Flatten(**WIDE)(x)))
    rng = np.random.default_rng(5)
    model.set_weights([0.1 * rng.normal(size=w.shape) for w in model.get_weights()])
    return model


@pytest.mark.parametrize("method", ["guided-backprop", "deconvnet"])
def test_26_a_relu_is_bent_however_it_is_written_and_however_deep(method: str) -> None:
    """xplique GuidedBackprop and DeconvNet: nested models, activation="relu6" and keras.ops.relu stay as they are, and
    the map is the plain gradient; tf-keras-vis GuidedBackpropagation misses keras.layers.ReLU, ops.relu and what is
    nested."""
    expected = explained(nested_relus("layer"), 0.1 * IMAGES, target=1, method=method).attribution
    plain = explained(nested_relus("layer"), 0.1 * IMAGES, target=1, method="gradient").attribution
    assert np.abs(expected - plain).max() > 0.1 * np.abs(plain).max()
    for kind in ("activation", "ops", "six", "relu6"):
        found = explained(nested_relus(kind), 0.1 * IMAGES, target=1, method=method).attribution
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * np.abs(expected).max())


def test_27_the_gate_of_a_relu_has_its_own_limits() -> None:
    """xplique's guided ReLU opens wherever x > 0, also beyond max_value and below threshold, where the output is flat."""
    image = keras.Input((1, 1, 4), **WIDE)
    x = layers.ReLU(max_value=6.0, threshold=1.0, **WIDE)(layers.Rescaling(1.0, **WIDE)(image))
    model = keras.Model(image, layers.Dense(2, use_bias=False, **WIDE)(layers.Flatten(**WIDE)(x)))
    model.set_weights([np.ones((4, 2))])
    x = np.array([-1.0, 0.5, 3.0, 8.0]).reshape(1, 1, 1, 4)
    found = explained(model, x, target=0, method="guided-backprop").attribution
    np.testing.assert_array_equal(found[0, 0, 0], [0, 0, 1, 0])


def test_28_of_several_outputs_one_must_be_named() -> None:
    """xplique takes a model of several outputs and stretches the list against the targets: silent nonsense."""
    net = build(NET)
    model = keras.Model(net.inputs, {"age": net.outputs[0][:, :1], "kind": net.outputs[0]})
    with pytest.raises(sl.ModelError, match="age, kind"):
        explained(model, method="gradient")
    found = explained(model, method="gradient", output="kind", target=1)
    expected = explained(net, method="gradient", target=1)
    np.testing.assert_allclose(found.attribution, expected.attribution, atol=1e-6)


def test_29_a_call_that_fails_does_not_spoil_the_next() -> None:
    """xplique GradCAM: after one failing call the layer stays "watched", and the next raises an AssertionError."""
    model = build(NET)
    expected = explained(build(NET), method="grad-cam")
    before = snapshot(model)
    for bad in ({"target": 99}, {"layer": "no such layer"}, {"target": lambda scores: scores / 0 + "text"}):
        with pytest.raises(sl.SightlineError):
            explained(model, method="grad-cam", **bad)
    assert snapshot(model) == before
    np.testing.assert_array_equal(explained(model, method="grad-cam").attribution, expected.attribution)


@pytest.mark.parametrize("name", ["gradient", "grad-cam", "guided-backprop", "lrp-epsilon", "deep-lift", "rise"])
def test_30_no_node_is_added_to_the_users_layers(name: str) -> None:
    """tf-keras-vis builds a keras.Model at every call of a CAM: `_inbound_nodes` go from 1 to 6 in five calls.

    The law that a model is untouched counts them for every method.
    """
    model = build(NET)
    before = [(len(layer._inbound_nodes), len(layer._outbound_nodes)) for layer in model.layers]
    few = {"steps": 2, "samples": 2, "window": 5, "stride": 4}
    for _ in range(3):
        explained(model, method=name, **{key: v for key, v in few.items() if METHODS[name].takes(key, {})})
    assert [(len(layer._inbound_nodes), len(layer._outbound_nodes)) for layer in model.layers] == before


@pytest.mark.parametrize("method", ["gradient", "guided-backprop", "grad-cam"])
def test_31_a_model_that_has_learnt_meanwhile_is_explained_as_it_is(method: str) -> None:
    """keras-vis keeps its guided model by the user's model object: after more training the old weights are explained."""
    model = build(NET)
    explained(model, method=method, target=3)
    other = paper.small_net(seed=9)
    model.set_weights([w for _, _, *weights in other for w in weights])
    found, fresh = (explained(m, method=method, target=3).attribution for m in (model, build(other)))
    np.testing.assert_array_equal(found, fresh)


def test_32_a_cam_works_inside_a_nested_and_in_a_subclassed_model() -> None:
    """tf-keras-vis Gradcam: "Graph disconnected" on a nested model, an error on a subclassed one; xplique GradCAM:
    StopIteration and AttributeError. Their users rebuild the model by hand."""
    net = build(NET)
    image = keras.Input((12, 12, 3), **WIDE)
    nested = keras.Model(image, net(image))

    class Subclassed(keras.Model):
        def __init__(self) -> None:
            super().__init__(**WIDE)
            self.net = net

        def call(self, x: Any) -> Any:
            return self.net(x)

    subclassed = Subclassed()
    subclassed(IMAGES)
    expected = [[paper.grad_cam(NET, image, 3, "relu2")] for image in IMAGES]
    for model in (nested, subclassed):
        cam = explained(model, method="grad-cam", target=3).attribution
        np.testing.assert_allclose(cam[:, None], expected, rtol=0, atol=1e-6 * np.max(expected))
