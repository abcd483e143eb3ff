"""A twin of a module: its structure rebuilt around the same weights, so that nothing done to it reaches the user's."""

from __future__ import annotations

import copy
import functools
import types
from collections import OrderedDict
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
    """`module` in evaluation mode around the same storage; ModelError if it is TorchScript left in training.

    Parameters ask for no gradient and share `.data`, so that an optimiser's step meanwhile raises nothing; buffers are
    copied, because a forward pass may write them. `seen` is filled with each original's twin.
    """
    return _module(module, {} if seen is None else seen)


def _rebuilt(value: Any, seen: Seen) -> Any:
    kind = type(value)
    if kind in _ATOMS:
        return value
    if id(value) in seen:
        return seen[id(value)][0]
    if isinstance(value, torch.Tensor):
        return _keep(value, _detached(value), seen)
    if isinstance(value, nn.Module):
        return _module(value, seen)
    if kind in (dict, OrderedDict):
        return kind((key, _rebuilt(item, seen)) for key, item in value.items())
    if kind in (list, tuple, set):
        return kind(_rebuilt(item, seen) for item in value)
    return _callable(value, kind, seen)


def _keep(value: Any, new: Any, seen: Seen) -> Any:
    seen[id(value)] = (new, value)
    return new


def _detached(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().clone() if tensor.is_inference() else tensor.data


def _module(module: nn.Module, seen: Seen) -> nn.Module:
    if hasattr(module, "_orig_mod"):  # torch.compile's shell
        return _module(module._orig_mod, seen)
    if isinstance(module, torch.jit.ScriptModule):
        return _script(module)
    new = _keep(module, object.__new__(type(module)), seen)
    own = new.__dict__
    for key, value in module.__dict__.items():
        own[key] = _rebuilt(value, seen)
    own["_parameters"] = {key: _parameter(p) for key, p in own["_parameters"].items()}
    own["_buffers"] = {key: b if b is None else b.clone() for key, b in own["_buffers"].items()}
    own["training"], own["_compiled_call_impl"] = False, None
    return new


def _script(module: torch.jit.ScriptModule) -> torch.jit.ScriptModule:
    if any(part.training for part in module.modules()):
        raise ModelError(
            "a TorchScript module in training mode was given; expected one in evaluation mode.",
            "Call its .eval() first: a scripted module cannot be rebuilt, so sightline would have to change yours.",
        )
    return module


def _parameter(p: torch.Tensor | None) -> torch.Tensor | None:
    return p if p is None or not p.is_leaf else nn.Parameter(p, requires_grad=False)


def _callable(value: Any, kind: type, seen: Seen) -> Any:
    if kind is types.MethodType:
        return types.MethodType(value.__func__, _rebuilt(value.__self__, seen))
    if kind is functools.partial:
        parts = (_rebuilt(part, seen) for part in (value.args, value.keywords))
        args, keywords = parts
        return functools.partial(_rebuilt(value.func, seen), *args, **keywords)
    if kind is types.FunctionType and value.__closure__:
        return _closure(value, seen)
    return _holder(value, seen)


def _closure(function: types.FunctionType, seen: Seen) -> types.FunctionType:
    """A function that captured modules (a patched forward, a hook) must see their twins."""
    cells = tuple(types.CellType() for _ in function.__closure__ or ())
    code, names = function.__code__, function.__globals__
    new = _keep(function, types.FunctionType(code, names, function.__name__, function.__defaults__, cells), seen)
    functools.update_wrapper(new, function)
    new.__kwdefaults__ = function.__kwdefaults__
    for cell, old in zip(cells, function.__closure__ or ()):
        try:
            cell.cell_contents = _rebuilt(old.cell_contents, seen)
        except ValueError:  # a cell that is still empty
            continue
    return new  # type: ignore[no-any-return]


def _holder(value: Any, seen: Seen) -> Any:
    """A plain object that holds modules or tensors is copied; everything else is shared."""
    fields = getattr(value, "__dict__", {})
    if isinstance(value, type) or not any(isinstance(f, nn.Module | torch.Tensor) for f in fields.values()):
        return value
    new = _keep(value, copy.copy(value), seen)
    new.__dict__.update({key: _rebuilt(field, seen) for key, field in fields.items()})
    return new
