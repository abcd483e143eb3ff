"""Twins kept between passes: one that still mirrors its original serves again, so that a pass costs only the pass."""

from __future__ import annotations

import enum
import functools
import threading
import types
import weakref
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from sightline.frameworks.torch.twin import Seen, is_plain_object, twin

Fields = dict[str, Any]
Order = tuple[list[Any] | None, list[tuple[Any, Any]]]  # a dictionary's keys; where others lie inside, and their orders
Look = tuple[list[Fields], list[tuple[int, str, Order]]]  # what objects hold; the order of the dictionaries in them
Pair = tuple[Fields, str, torch.Tensor, torch.Tensor]  # where, under which name, the original's tensor, the twin's
_NOTHING = torch.empty(0)


@dataclass
class Spare:
    """A twin, and what its original and itself looked like when it was made."""

    module: nn.Module
    originals: tuple[list[Any], Look]  # modules and plain objects; not the root, which must stay free to be collected
    root: Look
    own: tuple[list[Any], Look]  # of the twin, without those that write nothing of their own
    shared: list[Pair]  # what no pass writes: parameters, and the buffers of modules that write nothing
    buffers: list[Pair]  # copied, since a pass may write them
    single: list[Pair]  # those of one number, which another tensor may equal
    plain: bool = False  # the fields above show every change
    headless: set[Any] = field(default_factory=set)  # the outputs known to end in no softmax or sigmoid
    scripted: bool = False  # a part of it is TorchScript
    modules: dict[str, nn.Module] = field(default_factory=dict)  # every name of every module that can be hooked
    compiled: Any = None  # the module as torch.compile gives it, once it was asked for
    unwritten: set[str] = field(default_factory=set)  # the places whose values no operation in place was seen to follow
    clean: bool = True  # nothing was changed that a hook's removal does not mend


_SPARES: weakref.WeakKeyDictionary[nn.Module, list[Spare]] = weakref.WeakKeyDictionary()
_LOCK = threading.Lock()
_HELD: ContextVar[dict[nn.Module, Spare] | None] = ContextVar("_HELD", default=None)


@contextmanager
def borrowed(module: nn.Module) -> Iterator[Spare]:
    """A twin of `module` for this pass alone; afterwards it is kept if it came back as it went."""
    kept = _HELD.get()
    spare = kept.pop(module, None) if kept else None
    if spare is None or not _refreshed(spare):
        spare = _take(module) or _made(module)
    yield spare
    if spare.clean and spare.plain and _same(*spare.own):
        if kept is not None:
            kept[module] = spare
        else:
            _give_back(module, spare)


@contextmanager
def held() -> Iterator[None]:
    """Within it a twin is held against its original once, and serves each later pass of this thread as it is."""
    if _HELD.get() is not None:
        yield
        return
    kept: dict[nn.Module, Spare] = {}
    token = _HELD.set(kept)
    try:
        yield
    finally:
        _HELD.reset(token)
        for module, spare in kept.items():
            _give_back(module, spare)


def _give_back(module: nn.Module, spare: Spare) -> None:
    if _emptied(spare):
        with _LOCK:
            _SPARES.setdefault(module, []).append(spare)


def _take(module: nn.Module) -> Spare | None:
    """A kept twin that still mirrors `module`, with the weights and buffers of now; the stale ones are dropped."""
    while True:
        with _LOCK:
            kept = _SPARES.get(module)
            spare = kept.pop() if kept else None
        if spare is None or (_mirrors(spare, module) and _renewed(spare)):
            return spare


def _emptied(spare: Spare) -> bool:
    """Let go of the weights, so that those the user moves away or drops are free at once; False where torch cannot."""
    try:
        for _, _, _, ours in spare.shared:
            ours.data = _NOTHING
    except RuntimeError:
        return False
    return True


def _renewed(spare: Spare) -> bool:
    """Put in what the original's tensors hold now; False where these cannot stand in the twin's."""
    try:
        for _, _, theirs, ours in spare.shared:
            ours.data = theirs.data
    except RuntimeError:  # one has become a tensor of another kind
        return False
    return _refreshed(spare)


def _refreshed(spare: Spare) -> bool:
    """Put in what the original's buffers hold now, since a pass may write them; False where these do not fit."""
    for _, _, theirs, ours in spare.buffers:
        if (theirs.dtype, theirs.shape, theirs.device) != (ours.dtype, ours.shape, ours.device):
            return False
    if spare.buffers:
        _, _, theirs, ours = zip(*spare.buffers)
        with torch.no_grad():
            torch._foreach_copy_(ours, theirs)
    return True


def _made(module: nn.Module) -> Spare:
    seen: Seen = {}
    new = twin(module, seen)
    pairs = [(old, its) for its, old in seen.values() if isinstance(old, nn.Module)]
    held = [(old, its) for its, old in seen.values() if is_plain_object(old)]  # a configuration, say
    parts = [old for old, _ in (*pairs, *held) if old is not module]
    quiet, writing = ([pair for pair in pairs if _writes_nothing(pair[1]) == told] for told in (True, False))
    own = [its for _, its in (*writing, *held)]
    shared = [*_tensors(pairs, "_parameters"), *_tensors(quiet, "_buffers")]
    buffers = [*_tensors(writing, "_buffers")]
    single = [entry for entry in (*shared, *buffers) if entry[2].numel() == 1]
    spare = Spare(new, (parts, _look(parts)), _look([module]), (own, _look(own)), shared, buffers, single)
    spare.plain = _plain(spare, module) and _renewed(spare)
    spare.modules = unscripted(new)
    spare.scripted = any(isinstance(part, torch.jit.ScriptModule) for part in new.modules())
    return spare


def unscripted(module: nn.Module) -> dict[str, nn.Module]:
    """Every name of every module but those of TorchScript: they are the user's own even in a twin."""
    named = module.named_modules(remove_duplicate=False)
    return {name: part for name, part in named if not isinstance(part, torch.jit.ScriptModule)}


def _tensors(pairs: Iterable[tuple[nn.Module, nn.Module]], kind: str) -> Iterator[Pair]:
    for old, its in pairs:
        where, ours = old.__dict__[kind], its.__dict__[kind]
        yield from ((where, name, value, ours[name]) for name, value in where.items() if value is not None)


def _look(objects: list[Any]) -> Look:
    """What objects hold, their containers copied."""
    every = [{key: _copied(value) for key, value in held.__dict__.copy().items()} for held in objects]
    orders = [
        (i, key, order)
        for i, fields in enumerate(every)
        for key, value in fields.items()
        if key not in ("_parameters", "_buffers") and (order := _order(value))
    ]
    return every, orders


def _copied(value: Any) -> Any:
    kind = type(value)
    if kind in (dict, OrderedDict):
        return {key: _copied(item) for key, item in value.items()}
    return kind(map(_copied, value)) if kind in (list, set, tuple) and value else value


def _order(value: Any) -> Order | None:
    """The order of a dictionary's keys, to which == is blind, and of those inside a value; None where there are none."""
    keyed = type(value) in (dict, OrderedDict)
    items = value.items() if keyed else enumerate(value) if type(value) in (list, tuple) else ()
    inner = [(at, order) for at, item in items if (order := _order(item))]
    return (list(value) if keyed else None, inner) if inner or (keyed and len(value) > 1) else None


def _in_order(value: Any, order: Order) -> bool:
    keys, inner = order
    return (keys is None or list(value) == keys) and all(_in_order(value[at], own) for at, own in inner)


def _same(objects: list[Any], look: Look) -> bool:
    fields, orders = look
    try:
        alike = [held.__dict__ for held in objects] == fields  # by identity first, so that no tensor is compared
    except (RuntimeError, ValueError, TypeError):  # another tensor or array stands there: its == is no truth value
        return False
    return alike and all(_in_order(objects[i].__dict__[key], order) for i, key, order in orders)


def _writes_nothing(module: nn.Module) -> bool:
    """Whether a module is one of torch's own, whose forward pass leaves its fields as they are."""
    told = ("forward", "_forward_hooks", "_forward_pre_hooks")  # the user's own, who may write what they like
    return type(module).__module__.startswith("torch.nn.modules.") and not any(map(module.__dict__.get, told))


def _mirrors(spare: Spare, module: nn.Module) -> bool:
    return (
        _same([module], spare.root)
        and _same(*spare.originals)
        and all(where.get(name) is t for where, name, t, _ in spare.single)
    )


def _plain(spare: Spare, module: nn.Module) -> bool:
    """Whether the fields show every change: nothing was rebuilt that they do not tell, and nothing leads to the root."""
    if any(t.is_inference() for _, _, t, _ in spare.shared):  # the twin has copies of these
        return False
    parts = [*spare.root[0], *spare.originals[1][0]]
    values = [value for fields in parts for key, value in fields.items() if key not in ("_parameters", "_buffers")]
    return all(_seen_to_change(value, module) for value in values)


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


def _seen_to_change(value: Any, root: nn.Module) -> bool:
    """Whether a value is shared with the twin, or looked into: a container, or a module or plain object, whose own
    fields are; never the root, which must stay free.
    """
    if type(value) in (dict, list, set, tuple):
        return all(_seen_to_change(item, root) for item in (value.values() if isinstance(value, dict) else value))
    if isinstance(value, nn.Module):
        return value is not root
    return isinstance(value, _SHARED) or _never_changes(value) or is_plain_object(value)


def _never_changes(value: Any) -> bool:
    """Whether it is a function or a partial one that holds nothing but what is shared."""
    if type(value) is functools.partial:
        held = (value.func, *value.args, *value.keywords.values())
        return all(isinstance(item, _SHARED) or _never_changes(item) for item in held)
    if type(value) is not types.FunctionType or value.__closure__:
        return False
    held = (*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values())
    return all(isinstance(item, _SHARED) for item in held)
