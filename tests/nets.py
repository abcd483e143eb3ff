"""The net of `paper.py` in the framework of this process, with the same weights."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from paper import Net
from sightline.method import METHODS

FRAMEWORK = os.environ["SIGHTLINE_TEST_FRAMEWORK"]
DEVICE = os.environ.get("SIGHTLINE_TEST_DEVICE", "cpu")  # of PyTorch's nets: `make test-cuda` puts them on a GPU
ONE_OF_EACH_KIND = (  # of pass: the other methods are told apart by their twins, in each framework
    *("gradient", "input-x-gradient", "smoothgrad", "integrated-gradients", "grad-cam", "guided-backprop", "deconvnet"),
    *("guided-grad-cam", "occlusion", "layer-cam", "full-grad", "lrp-epsilon", "deep-lift", "rise"),
)
if DEVICE == "cuda":
    import torch

    torch.backends.cudnn.conv.fp32_precision = "ieee"  # the tests' bounds in float32 are of that, not of TensorFloat-32
OF_TOKENS = frozenset(name for name, method in METHODS.items() if "attention" in method.needs)  # their nets are others
ON_CONVOLUTIONS = tuple(sorted(set(METHODS) - OF_TOKENS))  # the methods that any net of images will do for
ALL = ("torch", "keras-tensorflow", "keras-jax", "keras-torch")


def use_float64() -> None:
    """Let Keras, and JAX under it, compute in float64; PyTorch does so by itself."""
    if FRAMEWORK == "keras-jax":
        import jax

        jax.config.update("jax_enable_x64", True)
    if FRAMEWORK != "torch":
        import keras

        keras.config.set_floatx("float64")
        # else Keras computes means and products in float32, but on TensorFlow
        keras.src.backend.common.dtypes.BIT64_TO_BIT32_DTYPE["float64"] = "float64"


def assert_repeated(found: np.ndarray, before: np.ndarray) -> None:
    """The same to the bit; on a GPU, where cuDNN adds up in no fixed order, but for rounding."""
    if DEVICE == "cuda":
        np.testing.assert_allclose(found, before, rtol=0, atol=1e-12 * np.abs(before).max())
    else:
        assert np.array_equal(found, before)


def build(net: Net, size: int = 12, dtype: str = "float64") -> Any:
    """The user's model."""
    return _torch(net, dtype) if FRAMEWORK == "torch" else _keras(net, size, dtype)


def build_transformer(scale: float = 1.0) -> Any:
    """What the methods of attention explain: a small transformer with five scores, PyTorch's alone."""
    import torch

    from token_nets import SmallViT

    with torch.random.fork_rng():
        torch.manual_seed(1)
        net = SmallViT(patch=4).double()
        for name, p in net.named_parameters():
            p.data *= 4 if "proj" in name or "patches" in name else 1  # so that the token of the class sees the image
    net.head.weight.data *= scale
    net.head.bias.data *= scale
    return net.to(DEVICE)


def _torch(net: Net, dtype: str) -> Any:
    from collections import OrderedDict

    import torch
    from torch import nn

    layers: OrderedDict[str, Any] = OrderedDict()
    for kind, name, *weights in net:
        if kind == "conv":
            kernel = torch.as_tensor(weights[0].transpose(3, 2, 0, 1).copy())
            layers[name] = nn.Conv2d(kernel.shape[1], kernel.shape[0], 3, padding=1)
            layers[name].weight.data, layers[name].bias.data = kernel, torch.as_tensor(weights[1])
        elif kind == "linear":
            layers[name] = nn.Linear(*weights[0].shape)
            layers[name].weight.data, layers[name].bias.data = (
                torch.as_tensor(weights[0].T.copy()),
                torch.as_tensor(weights[1]),
            )
        elif kind == "mean":
            layers[name], layers["flatten"] = nn.AdaptiveAvgPool2d(1), nn.Flatten()
        else:
            layers[name] = {"relu": nn.ReLU(inplace=True), "pool": nn.MaxPool2d(2)}[kind]
    return nn.Sequential(layers).to(DEVICE, getattr(torch, dtype))


def _keras(net: Net, size: int, dtype: str) -> Any:
    import keras

    make = {
        "relu": lambda name: keras.layers.ReLU(name=name, dtype=dtype),
        "pool": lambda name: keras.layers.MaxPooling2D(name=name, dtype=dtype),
        "mean": lambda name: keras.layers.GlobalAveragePooling2D(name=name, dtype=dtype),
    }
    image = keras.Input((size, size, net[0][2].shape[2]), dtype=dtype)
    x = image
    for kind, name, *weights in net:
        if kind == "conv":
            x = keras.layers.Conv2D(weights[1].size, 3, padding="same", name=name, dtype=dtype)(x)
        elif kind == "linear":
            x = keras.layers.Dense(weights[1].size, name=name, dtype=dtype)(x)
        else:
            x = make[kind](name)(x)
    model = keras.Model(image, x)
    model.set_weights([w for _, _, *weights in net for w in weights])
    return model


def native(images: np.ndarray, model: Any) -> Any:
    """Images (n, h, w, c) as the framework's own array in the model's own layout."""
    return model.array(np.ascontiguousarray(np.moveaxis(images, -1, model.channel)))


def snapshot(model: Any) -> dict[str, Any]:
    """All that an explanation must leave alone, ready to be compared."""
    return _torch_snapshot(model) if FRAMEWORK == "torch" else _keras_snapshot(model)


def _torch_snapshot(model: Any) -> dict[str, Any]:
    import torch

    found: dict[str, Any] = {"random": torch.get_rng_state().numpy().tobytes()}
    for name, m in model.named_modules():
        plain = {key: value for key, value in m.__dict__.items() if not isinstance(value, dict)}
        hooks = {key: tuple(value.items()) for key, value in m.__dict__.items() if "hooks" in key and value is not None}
        found[name] = (m.training, tuple(m.__dict__), repr(sorted(plain.items())), repr(hooks))
    for name, p in model.named_parameters():
        grad = None if p.grad is None else p.grad.cpu().numpy().tobytes()
        found[f"={name}"] = (id(p), p.requires_grad, p._version, p.detach().cpu().numpy().tobytes(), grad)
    for name, b in model.named_buffers():
        found[f"={name}"] = (id(b), b._version, b.cpu().numpy().tobytes())
    return found


def _keras_snapshot(model: Any) -> dict[str, Any]:
    import keras

    found: dict[str, Any] = {
        "random": repr(keras.ops.convert_to_numpy(keras.src.random.seed_generator.global_seed_generator().state))
    }
    for layer in model._flatten_layers():
        found[layer.path] = (sorted(layer.__dict__), id(layer.call.__func__), id(getattr(layer, "activation", None)))
        found[layer.path] += (len(layer._inbound_nodes), len(layer._outbound_nodes), layer.trainable)
    for v in model.variables:
        found[f"={v.path}"] = (id(v), v.trainable, keras.ops.convert_to_numpy(v).tobytes())
    return found


def with_trip(model: Any, trip: list[type[Exception]]) -> Any:
    """The model with a layer in its middle that throws "tripped" when `trip` is not empty."""
    if FRAMEWORK == "torch":
        from torch import nn

        class Trip(nn.Module):
            def forward(self, x: Any) -> Any:
                if trip:
                    raise trip[0]("tripped")
                return x

        if not isinstance(model, nn.Sequential):
            model.norm = nn.Sequential(Trip(), model.norm)
            return model
        return nn.Sequential(*list(model)[:4], Trip(), *list(model)[4:])
    return _keras_with_trip(model, trip)


def _keras_with_trip(model: Any, trip: list[type[Exception]]) -> Any:
    import keras

    class Trip(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            if trip:
                raise trip[0]("tripped")
            return x

    image = keras.Input(model.input_shape[1:], dtype=model.dtype)
    x = image
    for layer in model.layers[1:]:
        x = layer(x)
        if layer.name == "conv2":
            x = Trip(dtype=model.dtype)(x)
    return keras.Model(image, x)


def training_step(model: Any) -> list[np.ndarray]:
    """The gradients of a loss with respect to the parameters, as a user's own training would take them."""
    x = np.random.default_rng(9).normal(size=(2, 12, 12, 3))
    if FRAMEWORK == "torch":
        import torch

        loss = (model(torch.as_tensor(x.transpose(0, 3, 1, 2).copy(), device=DEVICE)) ** 2).sum()
        return [g.cpu().numpy() for g in torch.autograd.grad(loss, list(model.parameters()))]
    return {"keras-tensorflow": _tensorflow_step, "keras-jax": _jax_step, "keras-torch": _keras_torch_step}[FRAMEWORK](
        model, x
    )


def _tensorflow_step(model: Any, x: np.ndarray) -> list[np.ndarray]:
    import tensorflow as tf

    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(x, training=True) ** 2)
    return [np.asarray(g) for g in tape.gradient(loss, [v.value for v in model.trainable_variables])]


def _jax_step(model: Any, x: np.ndarray) -> list[np.ndarray]:
    import jax

    def loss(weights: Any) -> Any:
        y, _ = model.stateless_call(weights, [], x, training=True)
        return (y**2).sum()

    return [np.asarray(g) for g in jax.grad(loss)([v.value for v in model.trainable_variables])]


def _keras_torch_step(model: Any, x: np.ndarray) -> list[np.ndarray]:
    import torch

    loss = (model(torch.as_tensor(x), training=True) ** 2).sum()
    return [g.numpy() for g in torch.autograd.grad(loss, [v.value for v in model.trainable_variables])]
