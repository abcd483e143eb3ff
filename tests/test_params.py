"""Options of methods: defaults, text from a command line, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from sightline import listing  # noqa: F401  enters every method
from sightline.errors import MethodError
from sightline.method import METHODS, find
from sightline.params import settle_params


def settled(method: str, **given: Any) -> dict[str, Any]:
    return settle_params(find(method), given)


def test_defaults_are_those_of_the_signature() -> None:
    assert settled("gradient") == {}
    assert settled("occlusion") == {"baseline": "black", "window": None, "stride": None}
    assert settled("integrated_gradients", steps=7) == {"baseline": "black", "steps": 7, "tolerance": None}


def test_a_wrapper_takes_the_options_of_what_it_wraps() -> None:
    assert settled("smoothgrad", of="occlusion", window=3)["window"] == 3
    with pytest.raises(MethodError, match="option 'window' was given; smoothgrad does not have it"):
        settled("smoothgrad", window=3)


@pytest.mark.parametrize(
    ("method", "option", "given", "expected"),
    [
        ("integrated-gradients", "steps", "32", 32),
        ("integrated-gradients", "steps", 32.0, 32),
        ("integrated-gradients", "steps", np.int64(5), 5),
        ("integrated-gradients", "tolerance", "0.05", 0.05),
        ("integrated-gradients", "tolerance", "none", None),
        ("integrated-gradients", "tolerance", None, None),
        ("occlusion", "window", "5", 5),
        ("occlusion", "window", "", None),
        ("smoothgrad", "noise", 0, 0.0),
        ("smoothgrad", "noise", "1e-3", 0.001),
        ("smoothgrad", "form", "variance", "variance"),
        ("smoothgrad", "random_state", "7", 7),
        ("occlusion", "baseline", "blurred", "blurred"),
    ],
)
def test_a_value_is_read_by_its_type(method: str, option: str, given: Any, expected: Any) -> None:
    found = settled(method, **{option: given})[option]
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("method", "option", "value", "given", "fix"),
    [
        ("integrated-gradients", "stepz", 5, "option 'stepz' was given; integrated-gradients does not", "'steps'"),
        ("gradient", "steps", 5, "option 'steps' was given; gradient does not have it", "gradient takes no options"),
        ("gradient,grad-cam", "steps", 5, "method 'gradient,grad-cam' was given", "--method once for each"),
        ("smoothgrad", "of", "gradeint", "method 'gradeint' was given", "'gradient'"),
        ("smoothgrad", "of", "smoothgrad", "wraps a method itself", "gradient"),
        ("smoothgrad", "form", "squarred", "form='squarred' was given; expected one of 'mean'", "'squared'"),
        ("integrated-gradients", "steps", 0, "steps=0 was given; expected a whole number of at least 1", ""),
        ("integrated-gradients", "steps", -3, "of at least 1", ""),
        ("integrated-gradients", "steps", 2.5, "a whole number", ""),
        ("integrated-gradients", "steps", "2.5", "a whole number", ""),
        ("integrated-gradients", "steps", "many", "steps='many' was given; expected a whole number", ""),
        ("integrated-gradients", "steps", True, "a whole number", ""),
        ("integrated-gradients", "steps", math.inf, "a whole number", ""),
        ("integrated-gradients", "steps", math.nan, "a whole number", ""),
        ("integrated-gradients", "steps", None, "a whole number", ""),
        ("integrated-gradients", "steps", [1, 2], "a whole number", ""),
        ("integrated-gradients", "tolerance", -0.1, "a number of at least 0", ""),
        ("smoothgrad", "noise", "inf", "a number of at least 0", ""),
        ("smoothgrad", "noise", "10" * 400, "a number of at least 0", ""),
        ("smoothgrad", "random_state", 0.5, "a whole number", ""),
    ],
)
def test_what_is_refused(method: str, option: str, value: Any, given: str, fix: str) -> None:
    with pytest.raises(MethodError) as error:
        settled(method, **{option: value})
    assert str(error.value).count("\n") == 1
    assert given in error.value.given
    assert fix in error.value.fix


def test_every_option_of_every_method_takes_its_own_default() -> None:
    for name, method in METHODS.items():
        assert settle_params(method, dict(method.params)) == settled(name)
