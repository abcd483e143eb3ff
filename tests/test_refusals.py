"""A method that needs a rule for every operation refuses a model that has one without, and gives no map."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import paper
import sightline as sl
from nets import FRAMEWORK, build, native, snapshot, use_float64
from sightline.method import METHODS

FRAMEWORKS = ("torch", "keras-tensorflow", "keras-jax", "keras-torch")
use_float64()

NET = paper.small_net()
IMAGES = np.random.default_rng(0).normal(size=(2, 12, 12, 3))
LRP = [name for name in sorted(METHODS) if name.startswith("lrp-") or name.endswith("excitation-backprop")]
NAMED = {"GELU": "gelu", "a layer of the user's": "cumsum" if FRAMEWORK == "torch" else "Summed"}


@pytest.fixture(scope="module", params=NAMED)
def model(request: pytest.FixtureRequest) -> tuple[Any, str]:
    """The small net with something else in place of its second ReLU, and what an error is to call that."""
    gelu = request.param == "GELU"
    return (_torch(gelu) if FRAMEWORK == "torch" else _keras(gelu)), NAMED[request.param]


def _torch(gelu: bool) -> Any:
    from torch import nn

    class Summed(nn.Module):
        def forward(self, x: Any) -> Any:
            return x.cumsum(1)

    net = build(NET)
    net.relu2 = nn.GELU() if gelu else Summed()
    return net


def _keras(gelu: bool) -> Any:
    import keras

    class Summed(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            return keras.ops.cumsum(x, axis=-1)

    wide = {"name": "relu2", "dtype": "float64"}
    other = keras.layers.Activation("gelu", **wide) if gelu else Summed(**wide)
    net = build(NET)
    x = net.inputs[0]
    for layer in net.layers[1:]:
        x = (other if layer.name == "relu2" else layer)(x)
    return keras.Model(net.inputs, x)


@pytest.mark.parametrize("name", [*LRP, "deep-taylor"])
def test_an_operation_without_a_rule_is_refused_by_its_name(model: tuple[Any, str], name: str) -> None:
    module, called = model
    before = snapshot(module)
    with pytest.raises(sl.ModelError) as caught:
        sl.explain(module, native(IMAGES, sl.load(module).model), method=name, target=1)
    assert f"the model has {called!r} (in 'relu2'), for which" in caught.value.given
    assert "has no rule" in caught.value.given
    assert "integrated-gradients" in caught.value.fix
    assert len(str(caught.value).splitlines()) == 2
    assert snapshot(module) == before


@pytest.mark.parametrize("name", ["attn-lrp", "deep-lift", "deep-shap"])
def test_a_rule_that_knows_gelu_takes_it_and_refuses_what_it_does_not_know(model: tuple[Any, str], name: str) -> None:
    module, called = model
    x = native(IMAGES, sl.load(module).model)
    options = {} if name == "attn-lrp" else {"baseline": 0 * x}
    if called == "gelu":
        assert np.abs(sl.explain(module, x, method=name, target=1, **options).map).max() > 0
    else:
        with pytest.raises(sl.ModelError, match=called):
            sl.explain(module, x, method=name, target=1, **options)


@pytest.mark.parametrize("name", [name for name in sorted(METHODS) if "attention" in METHODS[name].needs])
def test_a_net_without_attention_is_refused_by_what_reads_it(name: str) -> None:
    net = build(NET)
    with pytest.raises(sl.ModelError, match="no attention between tokens is seen") as caught:
        sl.explain(net, native(IMAGES, sl.load(net).model), method=name, target=1)
    assert len(str(caught.value).splitlines()) == 2
