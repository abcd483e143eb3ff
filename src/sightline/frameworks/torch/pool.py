"""Twins kept between passes: one that still mirrors its original serves again, so that a pass costs only the pass."""

from __future__ import annotations

import threading
import types
import weakref
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from sightline.frameworks.torch.twin import Seen, twin

Fields = dict[str, Any]


@dataclass
class Spare:
    """A twin, and what its original and itself looked like when it was made."""

    module: nn.Module
    originals: list[tuple[nn.Module, Fields]]  # without the root, which must stay free to be collected
    root: Fields
    own: list[tuple[nn.Module, Fields]]
    weights: list[tuple[Fields, str, torch.Tensor, torch.Tensor]]  # (where, name, original, twin): one storage
    buffers: list[tuple[Fields, str, torch.Tensor, torch.Tensor]]
    plain: bool = False  # the fields above show every change
    heads: dict[Any, str] = field(default_factory=dict)  # output -> the softmax or sigmoid that it ends in
    modules: dict[str, nn.Module] = field(default_factory=dict)  # every name of every module; TorchScript shows none
    clean: bool = True  # nothing was changed that a hook's removal does not mend


_SPARES: weakref.WeakKeyDictionary[nn.Module, list[Spare]] = weakref.WeakKeyDictionary()
_LOCK = threading.Lock()


@contextmanager
def borrowed(module: nn.Module) -> Iterator[Spare]:
    """A twin of `module` for this pass alone; afterwards it is kept if it came back as it went."""
    spare = _take(module) or _made(module)
    yield spare
    if spare.clean and spare.plain and all(_same(part, fields) for part, fields in spare.own):
        with _LOCK:
            _SPARES.setdefault(module, []).append(spare)


def _take(module: nn.Module) -> Spare | None:
    """A kept twin that still mirrors `module`; the stale ones are dropped."""
    while True:
        with _LOCK:
            kept = _SPARES.get(module)
            spare = kept.pop() if kept else None
        if spare is None or _mirrors(spare, module):
            break
    if spare is not None and spare.buffers:
        _, _, theirs, ours = zip(*spare.buffers)
        torch._foreach_copy_(list(ours), [b.detach() for b in theirs])
    return spare


def _made(module: nn.Module) -> Spare:
    seen: Seen = {}
    new = twin(module, seen)
    pairs = [(old, its) for its, old in seen.values() if isinstance(old, nn.Module)]
    spare = Spare(
        new,
        [(old, _fields(old)) for old, _ in pairs if old is not module],
        _fields(module),
        [(its, _fields(its)) for _, its in pairs],
        [entry for old, its in pairs for entry in _tensors(old, its, "_parameters")],
        [entry for old, its in pairs for entry in _tensors(old, its, "_buffers")],
    )
    spare.plain = _plain(spare, module)
    if not isinstance(new, torch.jit.ScriptModule):
        spare.modules = dict(new.named_modules(remove_duplicate=False))
    return spare


def _tensors(old: nn.Module, its: nn.Module, kind: str) -> Iterator[tuple[Fields, str, torch.Tensor, torch.Tensor]]:
    where, ours = old.__dict__[kind], its.__dict__[kind]
    return ((where, name, value, ours[name]) for name, value in where.items() if value is not None)


def _fields(module: nn.Module) -> Fields:
    """What a module holds, its containers copied one level deep."""
    return {key: _copied(value) for key, value in module.__dict__.items()}


def _copied(value: Any) -> Any:
    kind = type(value)
    return dict(value) if kind in (dict, OrderedDict) else kind(value) if kind in (list, set) else value


def _same(module: nn.Module, fields: Fields) -> bool:
    try:
        return bool(module.__dict__ == fields)  # by identity first, so that no tensor is compared
    except (RuntimeError, ValueError, TypeError):  # another tensor or array stands there: its == is no truth value
        return False


def _mirrors(spare: Spare, module: nn.Module) -> bool:
    return (
        _same(module, spare.root)
        and all(_same(part, fields) for part, fields in spare.originals)
        and all(where.get(name) is b for where, name, b, _ in spare.buffers)
        and all(where.get(name) is p and _one_storage(p, t) for where, name, p, t in spare.weights)
    )


def _one_storage(p: torch.Tensor, t: torch.Tensor) -> bool:
    return (p.data_ptr(), p.dtype, p.shape, p.stride()) == (t.data_ptr(), t.dtype, t.shape, t.stride())


def _plain(spare: Spare, module: nn.Module) -> bool:
    """Whether the fields show every change: nothing was rebuilt deeper than they reach, and nothing leads to the root."""
    parts = [spare.root, *(fields for _, fields in spare.originals)]
    values = [value for fields in parts for key, value in fields.items() if key not in ("_parameters", "_buffers")]
    return all(_shallow(value, module) for value in values)


_SHARED: tuple[type, ...] = (
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


def _shallow(value: Any, root: nn.Module) -> bool:
    if type(value) in (dict, list, set, tuple):
        return all(_single(item, root) for item in (value.values() if isinstance(value, dict) else value))
    return _single(value, root)


def _single(value: Any, root: nn.Module) -> bool:
    """Shared with the twin, or a module, whose own fields are looked at; never the root, which must stay free."""
    if type(value) is tuple:
        return all(isinstance(item, _SHARED) for item in value)
    captured_nothing = type(value) is types.FunctionType and not value.__closure__
    return isinstance(value, _SHARED) or captured_nothing or (isinstance(value, nn.Module) and value is not root)
