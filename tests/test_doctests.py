"""The examples in the docstrings do what they say."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

import sightline

FRAMEWORKS = ("torch",)
ROOT = Path(sightline.__file__).parents[1]
WITH_EXAMPLES = [  # found without importing: a package of another framework would load that
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in sorted(ROOT.rglob("sightline/**/*.py"))
    if ">>> " in path.read_text(encoding="utf-8") and "keras" not in path.parts
]


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples_of_a_module(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert result.attempted
    assert not result.failed


def test_the_front_door_has_examples() -> None:
    assert {"sightline.explain", "sightline.load", "sightline.preprocessing", "sightline.targets"} <= set(WITH_EXAMPLES)
