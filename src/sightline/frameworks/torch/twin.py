"""A twin of a module: its structure rebuilt around the same weights, so that nothing done to it reaches the user's."""

from __future__ import annotations

import copy
import functools
import types
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from sightline.errors import ModelError

_ATOMS = frozenset(
    {int, float, complex, bool, str, bytes, type(None), type, torch.Size, torch.dtype, torch.device}
    | {types.BuiltinFunctionType, types.ModuleType, range, slice}
)
Seen = dict[int, tuple[Any, Any]]  # id -> (twin, original); the original is held so that its id stays its own


def twin(module: nn.Module, seen: Seen | None = None) -> nn.Module:
    """`module` in evaluation mode around the same storage; ModelError if it is TorchScript left in training, or has no
    weights yet.

    Parameters ask for no gradient and share `.data`, so that an optimiser's step meanwhile raises nothing; other tensors
    are copied, because a forward pass may write them. `seen` is filled with each original's twin.
    """
    return _module(module, {} if seen is None else seen)


def _rebuilt(value: Any, seen: Seen) -> Any:
    kind = type(value)
    if kind in _ATOMS:
        return value
    if id(value) in seen:
        return seen[id(value)][0]
    if isinstance(value, torch.Tensor):
        return _keep(value, _tensor(value), seen)
    if isinstance(value, nn.Module):
        return _module(value, seen)
    if isinstance(value, dict | list | deque | tuple | set | frozenset):
        return _container(value, kind, seen)
    return _REBUILD.get(kind, _holder)(value, seen)


def _keep(value: Any, new: Any, seen: Seen) -> Any:
    seen[id(value)] = (new, value)
    return new


def _tensor(tensor: torch.Tensor) -> torch.Tensor:
    if not isinstance(tensor, nn.Parameter):
        return tensor.detach().clone()
    if isinstance(tensor, nn.UninitializedParameter):
        raise ModelError(
            "a lazy model without weights was given.", "Run it once on an input of its own, then explain it."
        )
    return nn.Parameter(tensor.detach().clone() if tensor.is_inference() else tensor.data, requires_grad=False)


def _module(module: nn.Module, seen: Seen) -> nn.Module:
    if hasattr(module, "_orig_mod"):  # torch.compile's shell
        return _keep(module, _rebuilt(module._orig_mod, seen), seen)
    if isinstance(module, torch.jit.ScriptModule):
        return _script(module)
    new = _keep(module, object.__new__(type(module)), seen)
    own = new.__dict__
    for key, value in module.__dict__.copy().items():  # a copy: a thread that trains may add to it meanwhile
        own[key] = _rebuilt(value, seen)
    own["training"], own["_compiled_call_impl"] = False, None
    return new


def _script(module: torch.jit.ScriptModule) -> torch.jit.ScriptModule:
    if any(part.training for part in module.modules()):
        raise ModelError(
            "a TorchScript module in training mode was given; expected one in evaluation mode.",
            "Call its .eval() first: a scripted module cannot be rebuilt, so sightline would have to change yours.",
        )
    return module


def _container(value: Any, kind: type, seen: Seen) -> Any:
    if isinstance(value, tuple):
        return getattr(kind, "_make", kind)(_rebuilt(item, seen) for item in value)
    if isinstance(value, set | frozenset):
        return _keep(value, kind(_rebuilt(item, seen) for item in value), seen)
    new = _keep(value, value.copy() if kind in (dict, OrderedDict) else copy.copy(value), seen)
    if isinstance(value, dict):
        for key, item in list(new.items()):
            dict.__setitem__(new, key, _rebuilt(item, seen))
    else:
        for i, item in enumerate(new):
            new[i] = _rebuilt(item, seen)
    return new


def _function(function: types.FunctionType, seen: Seen) -> types.FunctionType:
    """A function that holds modules, captured or as defaults (a patched forward, a hook), must see their twins."""
    defaults, named = _rebuilt(function.__defaults__, seen), _rebuilt(function.__kwdefaults__, seen)
    old = (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values())
    new = (*(defaults or ()), *(named or {}).values())
    if not function.__closure__ and all(a is b for a, b in zip(old, new)):
        return function
    cells = tuple(types.CellType() for _ in function.__closure__ or ())
    made = types.FunctionType(function.__code__, function.__globals__, function.__name__, defaults, cells)
    functools.update_wrapper(_keep(function, made, seen), function)
    made.__kwdefaults__ = named
    for cell, captured in zip(cells, function.__closure__ or ()):
        try:
            cell.cell_contents = _rebuilt(captured.cell_contents, seen)
        except ValueError:  # a cell that is still empty
            continue
    return made


def _partial(value: functools.partial[Any], seen: Seen) -> functools.partial[Any]:
    old = (value.func, *value.args, *value.keywords.values())
    func, *new = (_rebuilt(item, seen) for item in old)
    if func is value.func and all(a is b for a, b in zip(new, old[1:])):
        return value  # the user's own, whatever becomes of its keywords
    args, rest = new[: len(value.args)], new[len(value.args) :]
    return functools.partial(func, *args, **dict(zip(value.keywords, rest)))


def _reference(value: weakref.ref[Any], seen: Seen) -> weakref.ref[Any]:
    """A child's weak reference to its parent."""
    original = value()
    return value if original is None else weakref.ref(_rebuilt(original, seen))


_REBUILD: dict[type, Callable[[Any, Seen], Any]] = {
    types.MethodType: lambda value, seen: types.MethodType(value.__func__, _rebuilt(value.__self__, seen)),
    types.FunctionType: _function,
    functools.partial: _partial,
    weakref.ref: _reference,
}


def _holder(value: Any, seen: Seen) -> Any:
    """A plain Python object is copied: it may hold modules, or what a pass writes. Everything else is shared."""
    if not is_plain_object(value):
        return value
    new = _keep(value, copy.copy(value), seen)
    new.__dict__.update({key: _rebuilt(field, seen) for key, field in value.__dict__.copy().items()})
    return new


def is_plain_object(value: Any) -> bool:
    """Whether a value is its fields and no more: not a class, a function, a file, an extension's own thing."""
    kind: Any = type(value)
    if isinstance(value, nn.Module | types.FunctionType) or not getattr(value, "__dict__", None):
        return False
    if issubclass(kind, types.SimpleNamespace):
        return True
    own = any(hasattr(kind, name) for name in ("__copy__", "__del__", "__setstate__"))
    made_plainly = all(getattr(kind, name) is getattr(object, name) for name in ("__new__", "__reduce__"))
    return made_plainly and kind.__reduce_ex__ is object.__reduce_ex__ and not own
