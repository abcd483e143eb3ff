"""Which layer is meant, by name, suffix and object; and the last with a grid, found by shape alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import paper
import sightline as sl
from nets import FRAMEWORK, build, use_float64
from sightline.layers import choose_layer, last_grid, without_unread

FRAMEWORKS = ("torch", "keras-tensorflow", "keras-jax", "keras-torch")
NET = paper.small_net()
MAPS = [*NET[:2], ("conv", "conv2", *NET[3][2:])]
IMAGES = np.random.default_rng(6).normal(size=(2, 12, 12, 3))
LAST = "relu2"


def as_input(images: np.ndarray) -> np.ndarray:
    return np.moveaxis(images, -1, 1) if FRAMEWORK == "torch" else images


@pytest.fixture(scope="module")
def model() -> Any:
    use_float64()
    return build(NET)


def cam_layer(model: Any, size: int) -> str:
    """The layer that a CAM takes by itself."""
    pre = f"resize={size},crop={size}"
    return last_grid(sl.layers(model, preprocess=pre)).name


def test_by_name_and_by_default(model: Any) -> None:
    for layer, expected in ((None, LAST), ("conv2", "conv2"), ("relu1", "relu1")):
        e = sl.explain(model, as_input(IMAGES), layer=layer)
        assert isinstance(e, sl.Explanation)
        assert e.layer == expected
        for i, image in enumerate(IMAGES):
            cam = paper.grad_cam(NET, image, int(paper.scores(NET, image).argmax()), expected)
            np.testing.assert_allclose(e.attribution[i], cam, rtol=0, atol=1e-6 * max(cam.max(), 1e-6))
            np.testing.assert_allclose(
                e.map[i], paper.bilinear(cam, (12, 12)), rtol=0, atol=1e-5 * max(cam.max(), 1e-6)
            )


def test_by_object(model: Any) -> None:
    there = model.conv2 if FRAMEWORK == "torch" else model.get_layer("conv2")
    e = sl.explain(model, as_input(IMAGES), layer=there)
    assert isinstance(e, sl.Explanation)
    assert e.layer == "conv2"
    assert json_of(e)["layer"] == "conv2"


def json_of(e: sl.Explanation) -> dict[str, Any]:
    import json

    found: dict[str, Any] = json.loads(json.dumps(e.facts(), allow_nan=False))
    return found


def test_a_method_without_a_layer_explains_the_one_that_is_named(model: Any) -> None:
    e = sl.explain(model, as_input(IMAGES), method="gradient", layer="pool1", target=2, reduce="sum")
    assert isinstance(e, sl.Explanation)
    assert (e.layer, e.attribution.shape) == ("pool1", (2, 6, 6, 4))
    for i, image in enumerate(IMAGES):
        g = paper.backward(NET, image, 2, at="pool1")
        np.testing.assert_allclose(e.attribution[i], g, rtol=0, atol=1e-6 * np.abs(g).max())
        expected = paper.bilinear(g.sum(axis=-1), (12, 12))
        np.testing.assert_allclose(e.map[i], expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_integrated_gradients_of_a_layer_adds_up_to_the_change_of_the_score(model: Any) -> None:
    e = sl.explain(model, as_input(IMAGES), method="integrated-gradients", layer="relu2", target=1, steps=3, baseline=0)
    assert isinstance(e, sl.Explanation)
    for i, image in enumerate(IMAGES):  # behind relu2 the net is linear, so that any number of steps is exact
        change = paper.scores(NET, image)[1] - paper.scores(NET, 0 * image)[1]
        assert e.attribution[i].sum() == pytest.approx(change, rel=1e-5)


@pytest.mark.parametrize(
    ("layer", "given", "fix"),
    [
        ("conv3", "layer 'conv3' was given", "Did you mean 'conv"),
        ("nothing like it", "layer 'nothing like it' was given", "sightline layers MODEL"),
        ("head", "its output of shape (5,) has no height and width", LAST),
        (3, "layer int was given", ""),
        (object(), "layer object was given", ""),
    ],
)
def test_a_layer_that_will_not_do(model: Any, layer: Any, given: str, fix: str) -> None:
    with pytest.raises(sl.LayerError) as error:
        sl.explain(model, as_input(IMAGES), layer=layer)
    assert str(error.value).count("\n") == 1
    assert given in error.value.given
    assert fix in error.value.fix


def test_a_suffix_names_a_nested_layer_where_it_is_the_only_one() -> None:
    layers = [
        sl.Layer(name, "conv", (4, 4, 2), weighted=True) for name in ("net/a/conv1", "net/b/conv1", "net/a/conv2")
    ]
    layers += [sl.Layer(name, "conv", (4, 4, 2), weighted=True) for name in ("body.layer4", "body.layer4:2")]
    assert choose_layer(layers, "conv2").name == "net/a/conv2"
    assert choose_layer(layers, "a/conv1").name == "net/a/conv1"
    assert choose_layer(layers, "layer4").name == "body.layer4"
    with pytest.raises(sl.LayerError, match=r"several are called that: net/a/conv1, net/b/conv1\.\n"):
        choose_layer(layers, "conv1")
    with pytest.raises(sl.LayerError):
        choose_layer(layers, "onv2")


def test_no_layer_with_a_grid() -> None:
    flat = [sl.Layer("", "input", (3, 8, 8), -3), sl.Layer("dense", "dense", (5,), weighted=True)]
    flat += [sl.Layer("one", "conv", (5, 1, 1), -3, weighted=True)]
    with pytest.raises(sl.LayerError, match=r"no layer with weights has a height and width\.\n"):
        choose_layer(flat, None)


def test_a_pass_that_fails_tells_nothing_of_the_layers_it_was_asked_for() -> None:
    layers = [sl.Layer(f"conv{i}", "conv", (4, 4, 2), weighted=True) for i in range(10)]

    class Failing:
        def run(self, x: Any, *, at: Any, target: Any) -> sl.Trace:
            if "conv0" not in at:
                raise sl.LayerError("layer 'conv9' was given; a pass never reaches it.", "Take another.")
            return sl.Trace(None, unread=frozenset({"conv1"}))

    failing: Any = Failing()
    assert without_unread(failing, None, layers) == layers


TORCHVISION = {
    "vgg16": ("features.29",),  # the ReLU behind the last convolution, not the pooling
    "vgg11_bn": ("features.27",),
    "resnet18": ("layer4",),
    "mobilenet_v2": ("features",),
    "densenet121": ("features",),
    "squeezenet1_1": ("classifier.2",),  # its last convolution is behind the "features"
    "efficientnet_b0": ("features",),
}
TORCHVISION["maxvit_t"] = ("blocks.3",)  # windows and their tokens are no grid
TORCHVISION["swin_v2_t"] = ("permute",)
TORCHVISION["swin_t"] = (
    "permute",
)  # the last normalisation, turned to channels first; (height, width, channels) before
KERAS = {"VGG16": "block5_conv3", "MobileNetV2": "out_relu"}


@pytest.mark.parametrize("name", TORCHVISION if FRAMEWORK == "torch" else KERAS)
def test_default_layer_of_well_known_nets(name: str) -> None:
    if FRAMEWORK == "torch":
        from torchvision import models

        side = 224 if name == "maxvit_t" else 64
        assert cam_layer(models.get_model(name, weights=None), side) in TORCHVISION[name]
    else:
        import keras

        keras.config.set_floatx("float32")
        net = getattr(keras.applications, name)(weights=None, include_top=False, pooling="avg", input_shape=(64, 64, 3))
        assert cam_layer(net, 64) == KERAS[name]
        image = keras.Input((64, 64, 3))
        outer = keras.Model(image, keras.layers.Dense(3)(net(image)))
        assert cam_layer(outer, 64).endswith(f"/{KERAS[name]}")


@pytest.mark.skipif(FRAMEWORK != "torch", reason="in Keras all layers of a model have their channels on one axis")
def test_each_layer_of_a_swin_transformer_has_its_own_axis_of_channels() -> None:
    import torch
    from torchvision import models

    torch.manual_seed(0)
    net, image = models.swin_t(weights=None).eval(), torch.randn(1, 3, 64, 96)
    known = {layer.name: layer for layer in sl.load(net).model.places(image)}
    for name, channel in (
        ("features.0.0", -3),
        ("features.0", -1),
        ("features.7.1.attn", -1),
        ("norm", -1),
        ("permute", -3),
    ):
        assert (known[name].channel, known[name].shape[channel] % 96) == (channel, 0)
    first, last = (sl.explain(net, image, method="grad-cam", layer=name) for name in ("norm", "permute"))
    assert first.attribution.shape == (1, 2, 3)
    assert first.attribution.max() > 0
    np.testing.assert_allclose(first.attribution, last.attribution, rtol=1e-4, atol=1e-6 * last.attribution.max())


@pytest.mark.skipif(FRAMEWORK != "torch", reason="the transformer is one of PyTorch's")
@pytest.mark.parametrize("side", [(32, 32), (32, 48)])
@pytest.mark.parametrize("registers", [0, 1, 4])
def test_a_transformers_tokens_have_a_grid_and_its_last_layer_is_one_that_the_class_still_asks(
    side: tuple[int, int], registers: int
) -> None:
    """Behind the last attention the score hangs on the token of the class alone: a CAM there is zero everywhere."""
    import torch

    from token_nets import SmallViT

    torch.manual_seed(0)
    net = SmallViT(registers).double().eval()
    image = torch.randn(2, 3, *side, dtype=torch.float64)
    known = {layer.name: layer for layer in sl.load(net).model.places(image)}
    rows, columns = side[0] // 8, side[1] // 8
    assert (known["blocks.1"].grid, known["blocks.1"].extra) == ((rows, columns), registers)
    assert known["blocks.1"].dead == (registers > 0)
    e = sl.explain(net, image, method="grad-cam", target=2)
    assert e.layer == ("blocks.1.norm1" if registers else "norm")
    value, gradient = by_hand(net, e.layer, image, 2)
    weights = gradient[:, registers:].mean(1, keepdim=True)
    expected = (weights * value[:, registers:]).sum(-1).clamp(min=0).reshape(2, rows, columns).numpy()
    assert expected.max() > 0
    np.testing.assert_allclose(e.attribution, expected, rtol=1e-6, atol=1e-9)
    kept = sl.explain(net, image, method="recipro-cam", target=2).attribution
    assert kept.shape == (2, rows, columns)
    assert kept.max() > 0


def by_hand(net: Any, name: str | None, image: Any, target: int) -> tuple[Any, Any]:
    """The value at a module of a copy, and the gradient of a score there."""
    import copy

    import torch

    kept: list[Any] = []
    net = copy.deepcopy(net)
    net.get_submodule(str(name)).register_forward_hook(lambda m, x, y: kept.append(y))
    score = net(image)[:, target].sum()
    return kept[0].detach(), torch.autograd.grad(score, kept[0])[0]


@pytest.mark.parametrize("head", ["sigmoid", "softmax"])
@pytest.mark.parametrize("inside", [False, True])
def test_the_end_of_a_segmentation_is_no_layer_for_a_cam(head: str, inside: bool) -> None:
    """Its score comes before it, so that no gradient would reach it; and the scores' own map is the answer itself."""
    if FRAMEWORK == "torch":
        from torch import nn

        end = nn.Sigmoid() if head == "sigmoid" else nn.Softmax(1)
        model = nn.Sequential(*build(MAPS), end)
    else:
        import keras

        model = build(MAPS)
        if inside:
            model.layers[-1].activation = getattr(keras.activations, head)
            model = keras.Model(model.inputs, model.layers[-1](model.layers[-2].output))
        else:
            model = keras.Model(model.inputs, keras.layers.Activation(head, dtype="float64")(model.output))
    region = sl.Region(2, np.ones((12, 12), bool))
    e = sl.explain(model, as_input(IMAGES), method="grad-cam", target=region)
    assert e.layer == ("1" if FRAMEWORK == "torch" else "relu1")
    assert e.map.max() > 0
    expected = sl.explain(build(MAPS), as_input(IMAGES), method="grad-cam", target=region, layer=_plain(e.layer))
    np.testing.assert_allclose(e.attribution, expected.attribution, rtol=1e-9)


def _plain(layer: str | None) -> str:
    return {"1": "relu1", "2": "conv2"}.get(str(layer), str(layer))


def test_a_backbone_inside_another_model() -> None:
    if FRAMEWORK == "torch":
        from torch import nn

        class Outer(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.backbone, self.head = nn.Sequential(*list(build(NET))[:5]), nn.Linear(6, 3, dtype=float)

            def forward(self, x: Any) -> Any:
                return self.head(self.backbone(x).mean((2, 3)))

        assert cam_layer(Outer(), 12) == "backbone"
        e = sl.explain(Outer(), as_input(IMAGES), layer="3")
        assert isinstance(e, sl.Explanation)
        assert e.layer == "backbone.3"
    else:
        import keras

        use_float64()
        inner = build(NET[:5])
        image = keras.Input((12, 12, 3), dtype="float64")
        pooled = keras.layers.GlobalAveragePooling2D(dtype="float64")(inner(image))
        e = sl.explain(keras.Model(image, pooled), IMAGES)
        assert isinstance(e, sl.Explanation)
        assert e.layer == inner.name  # what it gives is what its last layer gave
        for i, x in enumerate(IMAGES):
            features = paper.forward(NET[:5], x)[-1]
            best = features[..., features.mean(axis=(0, 1)).argmax()]
            np.testing.assert_allclose(e.attribution[i], best / 36, rtol=1e-6)
