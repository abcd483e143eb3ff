"""A method's options: which there are, of what type, in what range."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin

from sightline.errors import MethodError, nearest
from sightline.method import AtLeast, Baselines, Method, Names, Sides


def settle_params(method: Method, given: Mapping[str, Any]) -> dict[str, Any]:
    """Every option of `method` with its value, `given` or the default; text from a command line is read by its type.

    Raises MethodError for an option that the method does not have (suggesting the nearest), and for a value of the
    wrong type or out of range.
    """
    base = method.base(given)
    if "of" in method.params and "of" in base.params:
        raise MethodError(
            f"of={base.name!r} was given; it wraps a method itself.", "Name another method, such as gradient."
        )
    known = {**method.params, **base.params, **method.params}  # a wrapper's own defaults
    return settle(method.name, "methods", known, dict(base.hints) | dict(method.hints), given)


def settle(
    owner: str, listed: str, known: Mapping[str, Any], hints: Mapping[str, Any], given: Mapping[str, Any]
) -> dict[str, Any]:
    """Every option that is `known`, with the value that is `given` or its default, checked by the type in `hints`.

    Raises MethodError for an option that `owner`, of that list, does not have, and for a value that does not fit.
    """
    for name in given:
        if name not in known:
            hint = nearest(name, known, f"`sightline {listed}`: {owner} takes {', '.join(known) or 'no options'}")
            raise MethodError(f"option {name!r} was given; {owner} does not have it.", hint)
    return {name: _checked(name, given.get(name, default), hints[name]) for name, default in known.items()}


def _checked(name: str, value: Any, hint: Any) -> Any:
    """`value` as the type of `hint`; MethodError where it is not one."""
    if hint is Any or hint in (Baselines, Names):
        return value
    options = get_args(hint) if get_origin(hint) is Literal else ()
    if options:
        if value not in options:
            raise MethodError(
                f"{name}={value!r} was given; expected one of {', '.join(map(repr, options))}.",
                nearest(str(value), options, "the list before"),
            )
        return value
    kinds = get_args(hint) or (hint,)
    if type(None) in kinds:
        return None if value in (None, "none", "") else _checked(name, value, kinds[0])
    least = next((k for k in kinds if isinstance(k, AtLeast)), None)
    if kinds[0] == get_args(Sides)[0]:
        return _check_sides(name, value, least)
    return check_number(name, value, kinds[0], least) if kinds[0] in (int, float) else kinds[0](value)


def _check_sides(name: str, value: Any, least: AtLeast | None) -> int | tuple[int, int]:
    """One side, or height and width."""
    parts = value.lower().split("x") if isinstance(value, str) else value
    parts = parts if isinstance(parts, list | tuple) else [parts]
    if len(parts) not in (1, 2):
        raise MethodError(f"{name}={value!r} was given; expected one side, or two.", "Give one such as 5 or 5x9.")
    first, *others = (check_number(name, part, int, least) for part in parts)
    return (first, others[0]) if others else first


def check_number(
    name: str, value: Any, kind: type, least: AtLeast | None, told: str = "`sightline methods` for each option"
) -> Any:
    """`value` as a number of that kind, also out of text; MethodError where it is none, or less than `least`."""
    low = least.low if least else -math.inf
    try:
        number = kind(value)
        good = math.isfinite(number) and number >= low and (kind is float or number == float(value))
    except (TypeError, ValueError, OverflowError):
        good = False
    if isinstance(value, bool) or not good:
        wanted = "a whole number" if kind is int else "a number"
        raise MethodError(
            f"{name}={value!r} was given; expected {wanted}{f' of at least {low}' if least else ''}.",
            f"See {told} and its default.",
        )
    return number
