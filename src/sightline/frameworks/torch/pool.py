"""Twins kept between passes: one that still mirrors its original serves again, so that a pass costs only the pass."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from sightline.frameworks.torch.folds import chains_of
from sightline.frameworks.torch.layouts import convolutions_of
from sightline.frameworks.torch.looks import HOOKS, Look, look, same, seen_to_change
from sightline.frameworks.torch.twin import Seen, is_plain_object, twin
from sightline.model import Layer

Pair = tuple[torch.Tensor, torch.Tensor]  # the original's tensor, the twin's
Tensors = tuple[torch.Tensor, ...]
_NOTHING = torch.empty(0)


@dataclass
class Spare:
    """A twin, and what its original and itself looked like when it was made."""

    module: nn.Module
    originals: tuple[list[Any], Look]  # modules and plain objects; not the root, which must stay free to be collected
    root: Look
    own: tuple[list[Any], Look]  # of the twin, without those that write nothing of their own
    weights: list[Pair]
    buffers: list[tuple[Tensors, Tensors]]  # of one type each: copied in one go, since a pass may write them
    places: list[tuple[dict[str, Any], str, torch.Tensor]]  # of the twin's buffers, since a pass may put others there
    plain: bool = False  # the fields above show every change
    headless: set[Any] = field(default_factory=set)  # the outputs known to end in no softmax or sigmoid
    scripted: bool = False  # a part of it is TorchScript
    modules: dict[str, nn.Module] = field(default_factory=dict)  # every name of every module that can be hooked
    compiled: Any = None  # the module as torch.compile gives it, once it was asked for
    chains: list[nn.Sequential] = field(default_factory=list)  # whose batch norms need not run
    convs: list[nn.Conv2d] = field(default_factory=list)  # which may have a layout of their own
    layers: tuple[Any, list[Layer]] = (None, [])  # that a pass meets, and of which input
    unwritten: set[str] = field(default_factory=set)  # the places whose values no operation in place was seen to follow
    fresh: bool = False  # no pass has run since the buffers were put back
    clean: bool = True  # nothing was changed that a hook's removal does not mend


_SPARES: weakref.WeakKeyDictionary[nn.Module, list[Spare]] = weakref.WeakKeyDictionary()
WRITING: weakref.WeakSet[nn.Module] = weakref.WeakSet()
"""Modules whose passes were seen to write their own fields, so that no twin of theirs serves twice."""
FOLDING: weakref.WeakSet[nn.Module] = weakref.WeakSet()
"""Modules of whose batch norms most can be folded into the convolutions before them."""
MIXED: weakref.WeakSet[nn.Module] = weakref.WeakSet()
"""Modules some of whose convolutions may have a layout of their own."""
_LOCK = threading.Lock()
_HELD: ContextVar[dict[nn.Module, Spare] | None] = ContextVar("_HELD", default=None)


@contextmanager
def borrowed(module: nn.Module) -> Iterator[Spare]:
    """A twin of `module` for this pass alone; afterwards it is kept if it came back as it went."""
    with looked_at(module) as spare:
        spare.fresh = False
        yield spare
        if spare.clean and spare.plain and not same(*spare.own):
            WRITING.add(module)
            spare.clean = False


@contextmanager
def looked_at(module: nn.Module) -> Iterator[Spare]:
    """A twin of `module` to see what it is, not to run."""
    kept = _HELD.get()
    spare = kept.pop(module, None) if kept else None
    if spare is None or not (spare.fresh or _refreshed(spare)):
        spare = _take(module) or _made(module)
    yield spare
    if not (spare.clean and spare.plain):
        return
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
        for _, ours in spare.weights:
            ours.data = _NOTHING
    except RuntimeError:
        return False
    return True


def _renewed(spare: Spare) -> bool:
    """Put in what the original's tensors hold now; False where these cannot stand in the twin's."""
    try:
        for theirs, ours in spare.weights:
            ours.data = theirs.data
    except RuntimeError:  # a weight has become a tensor of another kind
        return False
    return all(_kinds(theirs) == _kinds(ours) for theirs, ours in spare.buffers) and _refreshed(spare)


def _kinds(tensors: Tensors) -> tuple[Any, ...]:
    return {t.dtype for t in tensors}, {t.device for t in tensors}, [t.shape for t in tensors]


def _refreshed(spare: Spare) -> bool:
    """Put in what the original's buffers hold now, since a pass may write them; False where torch cannot."""
    try:
        for fields, name, ours in spare.places:
            fields[name] = ours
        with torch.no_grad():
            for theirs, copies in spare.buffers:
                torch._foreach_copy_(copies, theirs)
    except RuntimeError:
        return False
    spare.fresh = True
    return True


def _made(module: nn.Module) -> Spare:
    seen: Seen = {}
    new = twin(module, seen)
    pairs = [(old, its) for its, old in seen.values() if isinstance(old, nn.Module)]
    plain = [(old, its) for its, old in seen.values() if is_plain_object(old)]  # a configuration, say
    parts = [old for old, _ in (*pairs, *plain) if old is not module]
    own = [its for _, its in (*pairs, *plain) if not _writes_nothing(its)]
    places = [(its._buffers, name, b) for _, its in pairs for name, b in its._buffers.items() if b is not None]
    weights, buffers = [*_tensors(pairs, "_parameters")], _of_one_type(_tensors(pairs, "_buffers"))
    spare = Spare(new, (parts, look(parts)), look([module]), (own, look(own, HOOKS)), weights, buffers, places)
    spare.plain = _plain(spare, module)
    spare.modules = unscripted(new)
    spare.chains, spare.convs = chains_of(spare.modules.values()), convolutions_of(spare.modules.values())
    (FOLDING.add if spare.chains else FOLDING.discard)(module)
    (MIXED.add if spare.convs else MIXED.discard)(module)
    spare.scripted = any(isinstance(part, torch.jit.ScriptModule) for part in new.modules())
    return spare


def unscripted(module: nn.Module) -> dict[str, nn.Module]:
    """Every name of every module but those of TorchScript: they are the user's own even in a twin."""
    named = module.named_modules(remove_duplicate=False)
    return {name: part for name, part in named if not isinstance(part, torch.jit.ScriptModule)}


def _tensors(pairs: Iterable[tuple[nn.Module, nn.Module]], kind: str) -> Iterator[Pair]:
    for old, its in pairs:
        ours = its.__dict__[kind]
        yield from ((value, ours[name]) for name, value in old.__dict__[kind].items() if value is not None)


def _of_one_type(pairs: Iterable[Pair]) -> list[tuple[Tensors, Tensors]]:
    groups: dict[Any, list[Pair]] = {}
    for pair in pairs:
        groups.setdefault((pair[1].dtype, pair[1].device), []).append(pair)
    return [(tuple(theirs for theirs, _ in group), tuple(ours for _, ours in group)) for group in groups.values()]


def _writes_nothing(part: Any) -> bool:
    """Whether it is one of torch's own layers, whose pass leaves its fields as they are; buffers are put back anyway."""
    kind = type(part)
    layer = kind.__module__.startswith("torch.nn.modules.") and kind.__module__ not in _HOLD
    return layer and not any(
        part.__dict__.get(own) for own in ("forward", *HOOKS)
    )  # the user's own write what they like


_HOLD = ("torch.nn.modules.module", "torch.nn.modules.container")  # parts for others, who may write them


def _mirrors(spare: Spare, module: nn.Module) -> bool:
    return same([module], spare.root) and same(*spare.originals)


def _plain(spare: Spare, module: nn.Module) -> bool:
    """Whether the fields show every change: nothing was rebuilt that they do not tell, and nothing leads to the root."""
    if any(theirs.is_inference() for theirs, _ in spare.weights):  # the twin has copies of these
        return False
    fields = (held.__dict__ for held in (module, *spare.originals[0]))
    values = [value for each in fields for key, value in each.items() if key not in ("_parameters", "_buffers")]
    return all(seen_to_change(value, module) for value in values)
