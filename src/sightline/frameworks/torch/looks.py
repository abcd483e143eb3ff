"""What objects look like: what they are and hold, to be told later whether they have changed since."""

from __future__ import annotations

import enum
import functools
import types
from collections import OrderedDict
from collections.abc import Callable, Set
from operator import itemgetter
from typing import Any, NamedTuple

import torch
from torch import nn

from sightline.frameworks.torch.twin import is_plain_object

HOOKS = frozenset(key for key in nn.Module().__dict__ if "_hooks" in key)
"""The fields of a module that hold its hooks."""
_CONTAINERS = (dict, OrderedDict, list, tuple, set)
_SHARED: tuple[type, ...] = (
    enum.Enum,
    int,
    float,
    complex,
    bool,
    str,
    bytes,
    type(None),
    type,
    types.BuiltinFunctionType,
    types.ModuleType,
)
_SHARED += (torch.Size, torch.dtype, torch.device)
Order = tuple[list[Any] | None, list[tuple[Any, Any]]]  # a dictionary's keys; where others lie inside, and their orders


class Look(NamedTuple):
    """What objects were when they were looked at."""

    kinds: list[type]
    sizes: list[int]  # how many fields each has
    values: list[Callable[[dict[str, Any]], Any]]  # of the fields that were looked at
    fields: list[Any]  # these values then
    orders: list[tuple[int, str, Order]]  # of the dictionaries in them


class _Itself:
    """Equal to one object alone, whatever that says of others: a configuration may call another one equal."""

    __slots__ = ("it",)

    def __init__(self, it: Any) -> None:
        self.it = it

    def __eq__(self, other: object) -> bool:
        return other is self.it

    __hash__ = None  # type: ignore[assignment]


def look(objects: list[Any], but: Set[str] = frozenset()) -> Look:
    """What objects are and hold but for some of their fields, whose containers are copied."""
    every = [{key: value for key, value in held.__dict__.copy().items() if key not in but} for held in objects]
    values = [itemgetter(*fields) if fields else lambda _: None for fields in every]
    orders = [
        (i, key, order)
        for i, fields in enumerate(every)
        for key, value in fields.items()
        if key not in ("_parameters", "_buffers") and (order := _order(value))
    ]
    kinds, sizes = list(map(type, objects)), [len(held.__dict__) for held in objects]
    return Look(kinds, sizes, values, [_copied(own(fields)) for own, fields in zip(values, every)], orders)


def same(objects: list[Any], before: Look) -> bool:
    """Whether objects are what they were, and hold the same."""
    every = [held.__dict__ for held in objects]
    if before.kinds != list(map(type, objects)) or before.sizes != list(map(len, every)):
        return False
    try:  # the look stands first, so that it is asked whether it is equal, and not what is held
        alike = before.fields == [own(fields) for own, fields in zip(before.values, every)]
    except Exception:  # a field is gone; or what is held was asked all the same, and it is the user's
        return False
    return alike and all(_in_order(every[i][key], order) for i, key, order in before.orders)


def _copied(value: Any, above: tuple[int, ...] = ()) -> Any:
    """A value to compare with: containers to whatever depth, numbers and names by what they are, all else by itself."""
    kind = type(value)
    if kind in _CONTAINERS and id(value) not in above:
        above = (*above, id(value))
        if kind in (dict, OrderedDict):
            return {key: _copied(item, above) for key, item in value.items()}
        return set(value) if kind is set else kind(_copied(item, above) for item in value)
    return value if isinstance(value, _SHARED) else _Itself(value)


def _order(value: Any, above: tuple[int, ...] = ()) -> Order | None:
    """The order of a dictionary's keys, to which == is blind, and of those inside a value; None where there are none."""
    keyed = type(value) in (dict, OrderedDict)
    if id(value) in above or not (keyed or type(value) in (list, tuple)):
        return None
    above = (*above, id(value))
    inner = [
        (at, order) for at, item in (value.items() if keyed else enumerate(value)) if (order := _order(item, above))
    ]
    return (list(value) if keyed else None, inner) if inner or (keyed and len(value) > 1) else None


def _in_order(value: Any, order: Order) -> bool:
    keys, inner = order
    return (keys is None or list(value) == keys) and all(_in_order(value[at], own) for at, own in inner)


def seen_to_change(value: Any, root: nn.Module, above: tuple[int, ...] = ()) -> bool:
    """Whether a value is shared with the twin, or looked into: a container, or a module or plain object, whose own
    fields are; never the root, which must stay free.
    """
    if type(value) is set:
        return all(isinstance(item, _SHARED) for item in value)
    if type(value) in _CONTAINERS:
        inner = above if id(value) in above else (*above, id(value))
        items = value.values() if isinstance(value, dict) else value
        return inner is above or all(seen_to_change(item, root, inner) for item in items)
    if isinstance(value, nn.Module):
        return value is not root
    return isinstance(value, _SHARED) or _never_changes(value) or (is_plain_object(value) and not _has_slots(value))


def _has_slots(value: Any) -> bool:
    """Whether an object holds more than its fields tell."""
    return any(kind.__dict__.get("__slots__") for kind in type(value).__mro__)


def _never_changes(value: Any) -> bool:
    """Whether it is a function, or a partial one, that holds nothing but what is shared, and so is shared itself."""
    if type(value) is functools.partial:
        held = (value.func, *value.args, *value.keywords.values())
        return all(isinstance(item, _SHARED) or _never_changes(item) for item in held)
    if type(value) is not types.FunctionType or value.__closure__:
        return False
    held = (*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values())
    return all(isinstance(item, _SHARED) for item in held)
