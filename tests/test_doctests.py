"""The examples in the docstrings do what they say."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import sightline

FRAMEWORKS = ("torch",)
MODULES = [m.name for m in pkgutil.walk_packages(sightline.__path__, "sightline.") if ".keras" not in m.name]
WITH_EXAMPLES = [
    name
    for name in MODULES
    if name != "sightline.cli.__main__" and ">>> " in (importlib.import_module(name).__loader__.get_source(name) or "")
]


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples_of_a_module(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert result.attempted
    assert not result.failed


def test_the_front_door_has_examples() -> None:
    assert {"sightline.explain", "sightline.load", "sightline.preprocessing", "sightline.targets"} <= set(WITH_EXAMPLES)
