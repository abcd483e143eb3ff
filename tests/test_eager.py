"""What TensorFlow is spared gives what it gives, and leaves every other framework's arrays alone."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from nets import FRAMEWORK
from sightline.arrays import Array, to_numpy
from sightline.eager import _SHAPES, fused, on_host
from test_arrays import arrays

FRAMEWORKS = ("none", "torch", "keras-tensorflow", "keras-jax", "keras-torch")
ON_TENSORFLOW = FRAMEWORK == "keras-tensorflow"


def is_tensorflows(a: Any) -> bool:
    return type(a).__name__ == "EagerTensor"


def test_a_function_on_the_host_works_on_numpy_and_gives_back_what_it_was_given() -> None:
    seen: list[type] = []

    @on_host
    def twice(a: Array, b: Array) -> Array:
        seen.append(type(a))
        return a * 2 + b

    for a in arrays(np.array([1.0, -2.0])):
        found = twice(a, a)
        assert type(found) is type(a) and str(found.dtype) == str(a.dtype)
        assert seen.pop() is (np.ndarray if is_tensorflows(a) else type(a))
        assert to_numpy(found).tolist() == [3.0, -6.0]


def test_a_fused_function_gives_what_it_does_for_more_shapes_than_are_compiled() -> None:
    run: list[int] = []

    @fused
    def product(a: Array, b: Array) -> Array:
        run.append(1)
        return a * b + 1

    count = _SHAPES + 3
    for length in [*range(1, count + 1), 1, 1]:
        values = np.arange(1.0, length + 1)
        for a in arrays(values):
            assert to_numpy(product(a, a)).tolist() == (values**2 + 1).tolist()
    of_others = sum(not is_tensorflows(a) for a in arrays(np.ones(1))) * (count + 2)
    if ON_TENSORFLOW:  # traced for a shape or two, then for any; by itself for the last three
        assert of_others + 3 < len(run) < of_others + count
    else:
        assert len(run) == of_others


@on_host
@fused
def twice(a: Array, b: Array) -> Array:
    return a * 2 + 0 * b


def test_in_a_graph_both_are_part_of_it() -> None:
    for a in arrays(np.array([1.0, -2.0])):
        if is_tensorflows(a):
            import tensorflow as tf

            assert tf.function(twice)(a, a).numpy().tolist() == [2.0, -4.0]
            assert tf.function(partial(twice, a))(a).numpy().tolist() == [2.0, -4.0]
            assert tf.function(partial(twice, a, a))().numpy().tolist() == [2.0, -4.0]
        else:
            assert to_numpy(twice(a, a)).tolist() == [2.0, -4.0]


if ON_TENSORFLOW:

    def test_a_tape_follows_them() -> None:
        import tensorflow as tf

        a = tf.constant([1.0, -2.0])
        with tf.GradientTape() as tape:
            tape.watch(a)
            score = tf.reduce_sum(twice(a, tf.stop_gradient(a)))
        assert tape.gradient(score, a).numpy().tolist() == [2.0, 2.0]
