"""The two ends of a Keras model: which input is the image, and which output is explained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras.src import backend, tree

from sightline.arrays import Array
from sightline.errors import ModelError


@dataclass(frozen=True)
class Ends:
    """Where the image goes in, beside which other inputs, and which output comes out."""

    image: str | None = None
    others: tuple[str, ...] = ()
    output: str | int | None = None

    def feed(self, model: keras.Model, x: Array, others: Sequence[Array]) -> Any:
        """What `model` is called with: the image `x`, and the other inputs."""
        if self.image is None:
            return x
        named = {self.image: x, **dict(zip(self.others, others))}
        names = input_names(model)
        if not names:  # a subclassed model takes its inputs by name
            return named
        return tree.pack_sequence_as(model._inputs_struct, [named[name] for name in names])

    def read(self, model: keras.Model, outputs: Any) -> Array:
        """The output that is explained; ModelError with the names of the outputs where it is not clear which."""
        names, values = _outputs(model, outputs)
        if self.output is None and len(values) == 1:
            found = values[0]
        elif isinstance(self.output, int) and -len(values) <= self.output < len(values):
            found = values[self.output]
        elif self.output in names:
            found = values[names.index(str(self.output))]
        else:
            given = "no output was named" if self.output is None else f"output {self.output!r} was given"
            raise ModelError(
                f"{given}; expected one of {', '.join(names)}.", 'Name one, as in output="..." or output=0.'
            )
        if not (backend.is_tensor(found) or backend.is_keras_tensor(found)):
            raise ModelError(
                f"the output is a {type(found).__name__}; expected an array.", "Give the model an output that is one."
            )
        return found


def _outputs(model: keras.Model, outputs: Any) -> tuple[list[str], list[Any]]:
    if isinstance(outputs, Mapping):
        return [str(name) for name in outputs], list(outputs.values())
    if not isinstance(outputs, (list, tuple)):
        return (list(getattr(model, "output_names", None) or ["output"]))[:1], [outputs]
    names = list(getattr(model, "output_names", None) or ())
    distinct = len(set(names)) == len(outputs) == len(names)
    return names if distinct else [str(i) for i in range(len(outputs))], list(outputs)


def input_tensors(model: keras.Model) -> list[Any]:
    """The symbolic inputs of a model with a graph; none where there is no graph to tell."""
    graph = model._functional if isinstance(model, keras.Sequential) else model
    return list(graph.inputs) if hasattr(graph, "_inputs_struct") else []


def input_names(model: keras.Model) -> list[str]:
    """The names of a model's several inputs; none where there is but one, or no graph to tell."""
    tensors = input_tensors(model)
    return [tensor.name for tensor in tensors] if len(tensors) > 1 else []


def find_ends(model: keras.Model, inputs: Mapping[str, Any], image: str | None, output: str | int | None) -> Ends:
    """The ends that the caller named; ModelError if one is missing or not there."""
    names = input_names(model)
    if names and (image is None or {image, *inputs} != set(names)):
        left = () if image is None else names  # any of them may be the image
        missing = ", ".join(name for name in left if name not in inputs and name != image)
        given = f"the image input is {image!r}, with values for {', '.join(inputs) or 'no other'}"
        raise ModelError(
            f"{given}; the model has the inputs {', '.join(names)}"
            + (f", and {missing} is missing." if missing else "."),
            'Name the image with input="...", and give the other inputs\' values as inputs={"name": array}.',
        )
    if not names and inputs and (image is None or input_tensors(model)):
        raise ModelError(
            f"values for {', '.join(inputs)} were given; expected a model of several inputs, and the image's name.",
            "Leave inputs= away for a model of one input; for a subclassed model name the image with input=.",
        )
    ends = Ends(image if names or inputs else None, tuple(inputs), output)
    if hasattr(model, "_outputs_struct"):
        ends.read(model, model._outputs_struct)
    return ends
