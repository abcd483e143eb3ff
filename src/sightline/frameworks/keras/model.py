"""Keras models behind the seam."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

import keras
import numpy as np
from keras.src import backend
from keras.src.ops.operation import Operation

from sightline.arrays import Array, tile
from sightline.errors import InputError, ModelError
from sightline.frameworks.keras.crossing import Memory, beside, cut_after
from sightline.frameworks.keras.ends import Ends, find_ends, input_tensors
from sightline.frameworks.keras.gate import own_variables
from sightline.frameworks.keras.passes import Arrays, Ask, fingerprint, held, remembered
from sightline.layers import is_heads, token_grid, without_dead_grids
from sightline.model import Edit, Layer, Place, Rule, RuleOf, Target, Trace, places_of, rows_of

_SMALL = 0.1  # what scales by less than this takes pixels from 0 to 255
_CPU_CHUNK, _GPU_CHUNK = 8, 32


def adapt(
    model: keras.Model,
    *,
    inputs: Mapping[str, Any] | None = None,
    output: str | int | None = None,
    input: str | None = None,
) -> KerasModel:
    """`model` behind the seam; it is never changed.

    `output` names the output that is explained, or gives its position. Of several inputs `input` names the image;
    `inputs` has the values of the others, images first. ModelError where a name is missing, or the model is not built.
    """
    if not isinstance(model, keras.Model):
        raise ModelError(
            f"a {type(model).__name__} was given; expected a keras.Model.", "Wrap layers in keras.Sequential."
        )
    if not model.built:
        raise ModelError(
            f"the model {model.name!r} is not built yet; expected one with weights.",
            "Call it once on an image, or load its weights: sightline does not change a model.",
        )
    others = dict(inputs or {})
    ends = find_ends(model, others, input, output)
    engine = import_module(f"sightline.frameworks.keras.{_backend()}")
    values = tuple(_convert(value, _dtype(model, name)) for name, value in others.items())
    return KerasModel(
        model, engine, ends, values, _channel(model), _CPU_CHUNK if engine.device() == "cpu" else _GPU_CHUNK
    )


@dataclass(frozen=True)
class KerasModel:
    """A Keras model as the methods see it."""

    model: keras.Model
    engine: Any  # the module of the backend: run, survey, device
    ends: Ends
    others: tuple[Array, ...]
    channel: int
    chunk: int

    @property
    def rescales(self) -> bool:
        """Whether the model itself makes pixels from 0 to 255 small, before it does anything else with weights."""
        told = (layer for layer in _in_order(self.model) if layer.weights or isinstance(layer, keras.layers.Rescaling))
        first = next(told, None)
        return isinstance(first, keras.layers.Rescaling) and bool(np.max(first.scale) < _SMALL)

    @property
    def computed(self) -> dict[str, str]:
        """Where and how passes are computed, for the answer."""
        every = [layer for layer in self.model._flatten_layers() if not isinstance(layer, keras.Model)]
        kinds = sorted({str(layer.compute_dtype) for layer in every})
        layout = "channels_last" if self.channel == -1 else "channels_first"
        if self.model in getattr(self.engine, "FOLDED", ()):
            layout += ", batch norms folded where nothing asks for them"
        return {"device": self.engine.device(), "precision": "+".join(kinds), "layout": layout}

    def held(self) -> AbstractContextManager[None]:
        """Within it the model is taken to stay as it is, but for the values of its weights."""
        return held()

    def in_precision(self, name: str) -> KerasModel:
        """ModelError: a Keras model's layers each have their own precision, for good."""
        raise ModelError(
            f"precision={name!r} was given with a Keras model; its layers have dtype policies of their own.",
            'Build it under keras.config.set_dtype_policy("mixed_bfloat16"); a saved model keeps its own.',
        )

    def array(self, x: Any) -> Array:
        """`x` as a tensor of the backend, in the precision of the model's input."""
        return _convert(x, _dtype(self.model, self.ends.image))

    def places(self, x: Array) -> list[Layer]:
        """The image, and every layer and operation in the order in which a pass of `x` leaves them."""
        x = self.array(x)
        own = tuple(x.shape[1:])

        def survey() -> list[Layer]:
            one = x[:1]
            arrays = Arrays(one, [value[:1] for value in self.others])
            met = self.engine.survey(self.model, Ask(self.ends), arrays).met
            image = Layer("", "input", own, self.channel)
            shaped = [(place, op, shape[1:]) for place, op, shape in met if shape and None not in shape]
            layers, others = [image], beside(self.model, self.ends)
            for place, op, shape in shaped:
                tokens = token_grid(shape, layers)
                layer = replace(_layer(place, op, shape, self.channel), tokens=tokens)
                unread = place.partition("/")[0].partition(":")[0] in others
                layers.append(replace(layer, dead=unread or is_heads(layer, layers), unread=unread))
            return without_dead_grids(self, one, layers)

        key = ("places", self.ends, own, fingerprint(self.model))
        return list(remembered(self.model, key, survey))

    def remember(self, x: Array, place: Place) -> Memory | None:
        """The values that cross the cut after `place`: the compiler leaves out what these make needless.

        None on torch, where nobody leaves out anything.
        """
        if backend.backend() == "torch":
            return None
        cut = cut_after(self.model, place)
        return Memory(cut, self.run(x, at=cut.crossing).values if cut.crossing else {})

    def parameters(self, x: Array) -> list[tuple[str, tuple[Place, ...]]]:
        """Every layer with weights that training changes, and their places, in the order in which a pass of `x` enters
        them; one that no place reaches has none, and comes last."""
        watch = self.engine.survey(self.model, Ask(self.ends), Arrays(self.array(x)[:1], [v[:1] for v in self.others]))
        ops = {place: op for place, op, _ in watch.met}
        found, known = list[tuple[str, tuple[Place, ...]]](), set[int]()
        for place in (path for path in watch.calls if path in ops):
            own = [v for v in getattr(ops[place], "_trainable_variables", ()) if id(v) not in known]
            known |= {id(v) for v in own}
            found += [(place, tuple(f"={place}/{v.name}" for v in own))] * bool(own)
        layers = self.model._flatten_layers()
        return found + [(m.name, ()) for m in layers if any(id(v) not in known for v in m._trainable_variables)]

    def run(
        self,
        x: Array,
        *,
        at: Sequence[Place] = (),
        edit: Mapping[Place, Edit] | None = None,
        target: Target | Callable[[Array], Array] | None = None,
        rule: Rule | None = None,
        memory: Memory | None = None,
    ) -> Trace:
        """One pass of `x` in evaluation mode, and a backward pass from each score of the target.

        LayerError for a place that is not there; ModelError for a rule that met none of its operations.
        """
        x, at, edit = self.array(x), tuple(dict.fromkeys(at)), edit or {}
        target = target if target is None or isinstance(target, Target) else Target(target)
        if memory is not None:
            copies = rows_of(edit) // x.shape[0]
            x = tile(x, copies)
            if memory.serves({*at, *edit, *places_of(target.place if target else None)}):
                edit = {place: tile(value, copies) for place, value in memory.values.items()} | dict(edit)
        if target is not None:
            _check_differentiable(at, x)
        functions = tuple((place, value) for place, value in edit.items() if callable(value))
        replaced = {place: _as_is(value) for place, value in edit.items() if not callable(value)}
        score, scored = (target.score, target.place) if target else (None, None)
        bare = rule.rule if isinstance(rule, RuleOf) else rule
        ask = Ask(self.ends, at, functions, tuple(replaced), score, bare, scored)
        rule_arrays = [_as_is(a) for a in rule.arrays] if isinstance(rule, RuleOf) else []
        target_arrays = [_as_is(a) for a in target.arrays] if target else []
        arrays = Arrays(x, self._companions(x), list(replaced.values()), target_arrays, rule_arrays)
        trace: Trace = self.engine.run(self.model, ask, arrays)
        return trace

    def _companions(self, x: Array) -> list[Array]:
        """The other inputs, repeated for as many copies of their images as `x` holds."""
        rows = x.shape[0]
        for name, value in zip(self.ends.others, self.others):
            if rows % value.shape[0]:
                raise InputError(
                    f"{rows} images came with {value.shape[0]} rows of the input {name!r}; expected as many, or a divisor.",
                    "Give each of the other inputs one row for each image.",
                )
        return [tile(value, rows // value.shape[0]) for value in self.others]


def _check_differentiable(at: Sequence[Place], x: Array) -> None:
    if "" in at and not backend.is_float_dtype(backend.standardize_dtype(x.dtype)):
        raise ModelError(
            f"the model's input is of the type {backend.standardize_dtype(x.dtype)}; expected a float type.",
            "Whole numbers have no gradient: explain the model at a layer, or from its first layer of floats on.",
        )
    if parameters := [place for place in at if place.startswith("=")]:
        raise ModelError(
            f"a gradient was asked at the parameter {parameters[0]!r}; expected an image or a layer.",
            "Keras models keep no gradient of each image at a parameter: record it without a target.",
        )


def _layer(place: Place, op: Operation, shape: tuple[int, ...], image_channel: int) -> Layer:
    order = getattr(op, "data_format", None)
    first = order == "channels_first" if order else image_channel != -1
    channel = -3 if first and len(shape) == 3 else -1
    own = tuple(f"={place}/{variable.name}" for variable in own_variables(op))
    return Layer(
        place, type(op).__name__.lower(), shape, channel, bool(own), own, _activation(op), made_by=weakref.ref(op)
    )


def _activation(op: Operation) -> str:
    """The activation that a layer applies itself; "" for none."""
    if isinstance(op, keras.layers.ReLU) and op.max_value is not None:
        return f"relu{op.max_value:g}"
    name = getattr(getattr(op, "activation", None), "__name__", "")
    return "" if name == "linear" else name


def _channel(model: keras.Model) -> int:
    orders = [getattr(layer, "data_format", None) for layer in model._flatten_layers()]
    order = next((order for order in orders if order), keras.config.image_data_format())
    return -3 if order == "channels_first" else -1


def _dtype(model: keras.Model, name: str | None) -> str | None:
    """The type that an input is given in; None where only the model knows."""
    tensors = {tensor.name: tensor for tensor in input_tensors(model)}
    if name in tensors:
        return str(tensors[name].dtype)
    if name is None:
        return str(next(iter(tensors.values())).dtype if tensors else model.variable_dtype)
    return None


def _convert(x: Any, dtype: str | None) -> Array:
    if hasattr(x, "requires_grad") and x.requires_grad:
        x = x.detach()
    return backend.convert_to_tensor(x, dtype=dtype)


def _as_is(x: Any) -> Array:
    """`x` as a tensor in its own precision, which Keras would lower on PyTorch."""
    return _convert(x, backend.standardize_dtype(x.dtype))


def _in_order(model: keras.Model) -> Iterator[keras.Layer]:
    """The layers of a model and of those in it, first to last."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _in_order(layer)
        else:
            yield layer


def _backend() -> str:
    name = str(keras.backend.backend())
    if name not in ("tensorflow", "jax", "torch"):
        raise ModelError(
            f"Keras runs on the backend {name!r}; expected tensorflow, jax or torch.",
            "Set the environment variable KERAS_BACKEND before Keras is imported.",
        )
    return name
