"""Every parameter of a module, in the order in which a pass comes to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from sightline.errors import ModelError
from sightline.model import Place


def parameters_in_order(twin: nn.Module, call: Callable[[nn.Module], Any]) -> list[tuple[str, tuple[Place, ...]]]:
    """The modules of a twin with parameters of their own, and the places of these, as `call`, a pass, enters them.

    A module that is never called itself, such as the last projection of `nn.MultiheadAttention`, comes with the one around
    it. ModelError for TorchScript, whose parameters cannot be replaced.
    """
    modules = dict(twin.named_modules())
    if any(isinstance(module, torch.jit.ScriptModule) for module in modules.values()):
        raise ModelError(
            "a model with TorchScript in it was given; its parameters cannot be replaced.", "Give the module itself."
        )
    entered: dict[str, int] = {}
    for name, module in modules.items():
        module.register_forward_pre_hook(lambda m, given, name=name: _enter(entered, name))
    with torch.no_grad():
        call(twin)
    own = {name: tuple(f"={_joined(name, key)}" for key, _ in _parameters(m)) for name, m in modules.items()}
    known = {id(p): _joined(name, key) for name, m in reversed(modules.items()) for key, p in _parameters(m)}
    first = {f"={place}" for place in known.values()}  # of a parameter that several share
    found = [(name, tuple(place for place in own[name] if place in first)) for name in modules]
    return sorted(((name, places) for name, places in found if places), key=lambda each: _when(each[0], entered))


def _enter(entered: dict[str, int], name: str) -> None:
    entered.setdefault(name, len(entered))


def _parameters(module: nn.Module) -> list[tuple[str, torch.Tensor]]:
    return list(module.named_parameters(recurse=False))


def _joined(name: str, key: str) -> str:
    return f"{name}.{key}" if name else key


def _when(name: str, entered: dict[str, int]) -> int:
    """When the module is entered, or else the nearest one around it that is."""
    while name not in entered and name:
        name = name.rpartition(".")[0]
    return entered.get(name, 0)
