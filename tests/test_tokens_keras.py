"""Transformers built of Keras' layers: the grid of their tokens, and that heads of attention are not taken for one."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers, ops

import sightline as sl
from sightline.frameworks.keras import adapt

FRAMEWORKS = ("keras-tensorflow", "keras-jax", "keras-torch")
GRID, WIDTH = (4, 6), 16


class Embedding(layers.Layer):  # type: ignore[misc]
    """A token of the class before those of the image, and a position of each."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.first = self.add_weight(shape=(1, 1, shape[-1]), name="first")
        self.positions = self.add_weight(shape=(1, shape[1] + 1, shape[-1]), name="positions")

    def call(self, x: Any) -> Any:
        first = ops.broadcast_to(self.first, (ops.shape(x)[0], 1, x.shape[-1]))
        return ops.concatenate([first, x], axis=1) + self.positions


def transformer() -> Any:
    """A small ViT of pictures of 64 x 96, as KerasHub builds its own."""
    keras.utils.set_random_seed(0)
    image = layers.Input((64, 96, 3))
    x = layers.Reshape((GRID[0] * GRID[1], WIDTH))(layers.Conv2D(WIDTH, 16, 16)(image))
    x = Embedding()(x)
    for _ in range(2):
        y = layers.LayerNormalization()(x)
        x = layers.Add()([x, layers.MultiHeadAttention(2, 8)(y, y)])
        y = layers.Dense(2 * WIDTH, activation="gelu")(layers.LayerNormalization()(x))
        x = layers.Add()([x, layers.Dense(WIDTH)(y)])
    return keras.Model(image, layers.Dense(5)(layers.LayerNormalization()(x)[:, 0]))


def test_heads_are_no_columns_and_the_score_hangs_on_the_layer_that_is_taken() -> None:
    """Queries, keys and values have a shape (tokens, heads, width), which looks like a feature map and is none."""
    model = transformer()
    x = np.random.default_rng(0).normal(size=(2, 64, 96, 3)).astype("float32")
    e = sl.explain(model, x, method="grad-cam", target=3)
    norms = [layer.name for layer in model.layers if isinstance(layer, layers.LayerNormalization)]
    assert e.layer == norms[2]  # the last before the last block, in which only the first token is read
    trace = adapt(model).run(x, at=[e.layer], target=lambda outputs: outputs[:, 3][None])
    a, g = (np.asarray(keras.ops.convert_to_numpy(v[e.layer]))[..., 1:, :] for v in (trace.values, trace.grads))
    wanted = np.maximum((g[0].mean(axis=1, keepdims=True) * a).sum(axis=-1), 0).reshape(2, *GRID)
    assert wanted.max() > 1e-4
    np.testing.assert_allclose(e.attribution, wanted, rtol=1e-4, atol=1e-6 * wanted.max())


def test_only_tokens_are_grids() -> None:
    x = np.zeros((1, 64, 96, 3), "float32")
    grids = {layer.grid for layer in adapt(transformer()).places(x) if layer.grid and layer.name and not layer.dead}
    assert grids == {GRID}
