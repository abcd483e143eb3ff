"""Passes are as large as memory allows; where it does not last they are halved, and no map changes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

import sightline as sl
from asked import IMAGES, as_input, asked
from sightline.memory import as_bytes, fitted, out_of_memory
from sightline.model import Model

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
    assert fitted(narrow, x, 1).chunk == 1  # type: ignore[type-var]
    assert fitted(narrow, x, 10**15).chunk == 8
    assert fitted(narrow, x, None) is narrow


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
    for words in ("CUDA out of memory.", "RESOURCE_EXHAUSTED: Out of memory", "OOM when allocating tensor"):
        assert out_of_memory(RuntimeError(words))
    assert out_of_memory(MemoryError())
    assert not out_of_memory(RuntimeError("size mismatch"))
