"""Passes are as large as memory allows; where it does not last they are halved, and no map changes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

import paper
import sightline as sl
from asked import IMAGES, as_input, asked
from nets import FRAMEWORK, build
from sightline.arrays import to_numpy
from sightline.memory import as_bytes, fitted, out_of_memory
from sightline.model import Model, rows_of
from sightline.tail import Tail

FRAMEWORKS = ("torch", "keras-tensorflow", "keras-jax", "keras-torch")
METHODS = ["gradient", "integrated-gradients", "grad-cam", "occlusion"]
FEW: dict[str, Any] = {"steps": 3, "window": 6, "stride": 6}


@dataclass(frozen=True)
class Narrow:
    """A model on a device that holds `most` images at a time."""

    model: Model
    chunk: int
    most: int = 99
    passes: list[int] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def run(self, x: Any, **options: Any) -> Any:
        self.passes.append(x.shape[0])
        if x.shape[0] > self.most:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return self.model.run(x, **options)


class Unremembering(Narrow):
    """The same, of which each pass is a whole one."""

    def remember(self, x: Any, place: str) -> None:
        """Nothing."""


def maps(loaded: sl.Loaded, **options: Any) -> list[sl.Explanation]:
    found = sl.explain(loaded, as_input(IMAGES), method=METHODS, target=[1, 2], **FEW, **options)
    assert isinstance(found, list)
    return found


def test_where_memory_does_not_last_passes_are_halved_and_no_map_changes() -> None:
    loaded = sl.load(asked()["classes"])
    whole = maps(loaded)
    narrow = Narrow(loaded.model, chunk=8, most=2)
    found = maps(replace(loaded, model=narrow))
    assert [images for images in narrow.passes if images > 2] == [3, 3]  # with 8 and with 4 in a pass
    assert max(narrow.passes[2:]) == 2
    for one, other in zip(found, whole):
        np.testing.assert_allclose(one.map, other.map, rtol=1e-5, atol=1e-7)
        assert one.notes[-1] == "memory did not last for more than 2 images in a pass"
    other = replace(loaded, model=Unremembering(loaded.model, chunk=8, most=2))
    e = sl.explain(other, as_input(IMAGES), method="ablation-cam", target=1)
    assert isinstance(e, sl.Explanation)
    assert [note.split()[0] for note in e.notes] == ["each", "memory"]  # one does not take the other's place
    with pytest.raises(sl.ModelError, match=r"ran out of memory on an input of shape \(3, .*\n"):
        maps(replace(loaded, model=Narrow(loaded.model, chunk=8, most=0)))


def test_a_limit_makes_passes_smaller_and_changes_no_map() -> None:
    loaded = sl.load(asked()["classes"])
    values = sum(math.prod(layer.shape) for layer in loaded.model.places(loaded.model.array(as_input(IMAGES))))
    two = int(2.5 * 2 * 8 * values)  # of float64, and their gradients
    narrow = Narrow(loaded.model, chunk=8)
    found = maps(replace(loaded, model=narrow), memory=two)
    assert max(narrow.passes) == 2
    for one, other in zip(found, maps(loaded)):
        np.testing.assert_allclose(one.map, other.map, rtol=1e-5, atol=1e-7)
    x = loaded.model.array(as_input(IMAGES))
    smallest, share = fitted(narrow, x, 8 * values)  # type: ignore[type-var]
    assert (smallest.chunk, share) == (1, 0.5)
    assert fitted(narrow, x, 10**15) == (replace(narrow, chunk=8), 1.0)  # type: ignore[type-var]
    assert fitted(narrow, x, None)[0] is narrow  # type: ignore[type-var]


@dataclass(frozen=True)
class Shelf(Narrow):
    """The same, which notes how many values each tail holds, and has room for `most` of them."""

    def run(self, x: Any, *, memory: Any = None, edit: Any = None, **options: Any) -> Any:
        if memory is None:
            return self.model.run(x, edit=edit, **options)
        self.passes.append(rows_of(edit))
        if rows_of(edit) > self.most:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return self.model.run(x, memory=memory, edit=edit, **options)


def ablated(model: Model, loaded: sl.Loaded, **options: Any) -> sl.Explanation:
    found = sl.explain(replace(loaded, model=model), IMAGE, method="ablation-cam", layer="pool1", target=1, **options)
    assert isinstance(found, sl.Explanation)
    return found


IMAGE = as_input(IMAGES[:1])
WITHOUT_TAILS = pytest.mark.skipif(FRAMEWORK == "keras-torch", reason="each pass is made as a whole")


@WITHOUT_TAILS
def test_where_memory_does_not_last_tails_are_halved_too() -> None:
    loaded = sl.load(asked()["classes"])
    whole = ablated(Shelf(loaded.model, chunk=2), loaded)
    narrow = Shelf(loaded.model, chunk=2, most=1)
    found = ablated(narrow, loaded)
    assert narrow.passes == [4, 2, 1, 1, 1, 1]  # with 2 images in a pass, with 1, with half of 1
    np.testing.assert_allclose(found.map, whole.map, rtol=1e-5, atol=1e-7)
    note = "memory did not last for more than 1 images in a pass, and 0.5 of that from a layer on"
    assert (found.notes, whole.notes) == ((note,), ())
    with pytest.raises(sl.ModelError, match="ran out of memory"):
        ablated(Shelf(loaded.model, chunk=2, most=0), loaded)


@WITHOUT_TAILS
def test_a_limit_holds_for_tails() -> None:
    loaded = sl.load(asked()["classes"])
    layers = loaded.model.places(loaded.model.array(IMAGE))
    names = [layer.name for layer in layers]
    tail = sum(math.prod(layer.shape) for layer in layers[names.index("pool1") :])
    whole = ablated(Shelf(loaded.model, chunk=2), loaded)
    most = []
    for held in (1, 2, 3):
        narrow = Shelf(loaded.model, chunk=2)
        found = ablated(narrow, loaded, memory=int(2 * 8 * tail * (held + 0.5)))
        most.append(max(narrow.passes))
        np.testing.assert_allclose(found.map, whole.map, rtol=1e-5, atol=1e-7)
    assert most == [1, 1, 2]  # no more than fit, nor more than need what an image needs at once


@WITHOUT_TAILS
def test_a_tail_that_weighs_what_the_whole_does_takes_no_more_at_a_time() -> None:
    """Where a small layer comes first, its own size says nothing of what comes after."""
    draw = np.random.default_rng(0).normal
    sides: list[Any] = [("first", 3, 1), ("second", 1, 3), ("third", 3, 3)]
    net: paper.Net = [
        *(("conv", name, draw(size=(3, 3, given, gives)), draw(size=gives)) for name, given, gives in sides),
        ("mean", "mean"),
        ("linear", "head", draw(size=(3, 5)), draw(size=5)),
    ]
    model = sl.load(build(net)).model
    x = model.array(IMAGE)
    layer = next(layer for layer in model.places(x) if layer.name == "first")
    tail = Tail(model, layer, x)
    assert math.prod(x.shape[1:]) // math.prod(layer.shape) == 3
    assert tail.memory is not None
    assert tail.chunk == model.chunk


@WITHOUT_TAILS
def test_a_tail_takes_as_many_values_as_need_no_more_at_once_than_a_pass_of_images() -> None:
    """Two layers of four channels each are there at once; above the last, of two, its own value alone."""
    draw = np.random.default_rng(0).normal
    sides: list[Any] = [("first", 3, 4), ("second", 4, 4), ("third", 4, 2)]
    net: paper.Net = [
        *(("conv", name, draw(size=(3, 3, given, gives)), draw(size=gives)) for name, given, gives in sides),
        ("mean", "mean"),
        ("linear", "head", draw(size=(2, 5)), draw(size=5)),
    ]
    model = sl.load(build(net)).model
    x = model.array(IMAGE)
    layer = next(layer for layer in model.places(x) if layer.name == "third")
    assert Tail(model, layer, x).chunk == 3 * model.chunk


def test_a_tails_own_place_is_edited_as_an_image_is() -> None:
    model = sl.load(asked()["classes"]).model
    x = model.array(IMAGE)
    layer = next(layer for layer in model.places(x) if layer.name == "pool1")
    value = model.run(x, at=["pool1"]).values["pool1"]
    doubled = Tail(model, layer, x).run(value + 1, edit={"": lambda a: 2 * a}, at=[""])
    expected = to_numpy(model.run(x, edit={"pool1": 2 * (value + 1)}).outputs)
    np.testing.assert_allclose(to_numpy(doubled.outputs), expected, rtol=1e-12)
    np.testing.assert_allclose(to_numpy(doubled.values[""]), 2 * (to_numpy(value) + 1), rtol=1e-12)
    assert np.abs(expected - to_numpy(model.run(x).outputs)).max() > 1e-3


@pytest.mark.parametrize(
    ("given", "expected"),
    [("2GB", 2 * 10**9), ("1.5 gib", 3 * 2**29), ("500 MB", 5 * 10**8), ("7k", 7000), (123, 123), ("9b", 9)],
)
def test_a_number_of_bytes(given: str | int, expected: int) -> None:
    assert as_bytes(given) == expected


@pytest.mark.parametrize("given", ["much", "-1GB", "0", "2 GB of it", ""])
def test_no_number_of_bytes(given: str) -> None:
    with pytest.raises(sl.MethodError, match=r"^memory=.* was given; expected a number of bytes\.\nWrite it like 2GB"):
        maps(sl.load(asked()["classes"]), memory=given)


def test_frameworks_words_for_it() -> None:
    for words in (
        "CUDA out of memory.",
        "RESOURCE_EXHAUSTED: ...",
        "OOM when allocating tensor",
        "CUBLAS_STATUS_ALLOC_FAILED",
    ):
        assert out_of_memory(RuntimeError(words))
    assert out_of_memory(MemoryError())
    assert not out_of_memory(RuntimeError("size mismatch"))
