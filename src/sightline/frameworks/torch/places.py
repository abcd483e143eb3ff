"""The layers of a module: what one pass of a twin meets, remembered as long as the module is made of the same parts."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.nn.utils.parametrize import ParametrizationList, is_parametrized, type_before_parametrizations
from torch.utils._pytree import tree_flatten

from sightline.frameworks.torch.attention import Open
from sightline.frameworks.torch.outputs import channel_axis, first_tensor
from sightline.frameworks.torch.taps import telling
from sightline.frameworks.torch.twin import Seen, twin
from sightline.layers import is_window, token_grid
from sightline.model import ATTENTION, Layer

Weak = weakref.ref[nn.Module]
Parts = list[tuple[Weak, list[str], list[Weak | None]]]  # of each module, also of those that have none: their names
_LAYERS: weakref.WeakKeyDictionary[nn.Module, tuple[Any, Parts, list[Layer]]] = weakref.WeakKeyDictionary()


def kept(module: nn.Module, key: Any, meet: Callable[[], list[Layer]]) -> list[Layer]:
    """What `meet` found for the latest `key`, if the module is still made of the same parts; else what it finds now."""
    known, parts, layers = _LAYERS.get(module, (None, [], []))
    if known != key or not all(_has_still(whole(), names, parts) for whole, names, parts in parts):
        layers = meet()
        _LAYERS[module] = key, [_parts(each) for each in module.modules()], layers
    return list(layers)


def _parts(whole: nn.Module) -> tuple[Weak, list[str], list[Weak | None]]:
    parts = dict(whole._modules.items())  # TorchScript has a container of its own
    return weakref.ref(whole), list(parts), [None if part is None else weakref.ref(part) for part in parts.values()]


def _has_still(whole: nn.Module | None, names: list[str], parts: list[Weak | None]) -> bool:
    """Whether a module has the parts that it had, in the same order."""
    now = {} if whole is None else dict(whole._modules.items())
    return whole is not None and list(now) == names and [part and part() for part in parts] == list(now.values())


def met(user: nn.Module, given: tuple[int, ...], channel: int, run: Callable[[nn.Module], Any]) -> list[Layer]:
    """The layers of the user's module as `run`, a pass of a module like it on images of the shape `given`, meets them."""
    seen: Seen = {}
    module = twin(user, seen)
    layers, calls = [Layer("", "input", given[1:], channel)], dict[str, int]()
    axes, running = {given[1:]: channel}, [""]
    named = user.named_modules()  # the twin has no compiled shells
    originals = {name.replace("_orig_mod.", ""): weakref.ref(m) for name, m in named}

    def meet(name: str, m: nn.Module, taken: Any, y: Any) -> None:
        calls[name] = calls.get(name, 0) + 1
        tensor = first_tensor(y)
        if tensor is not None and tensor.ndim > 1:
            place = name if calls[name] == 1 else f"{name}:{calls[name]}"
            own = tuple(f"={name}.{key}" for key in _own(m))
            kind, shape = type_before_parametrizations(m).__name__.lower(), tuple(tensor.shape[1:])
            axis, of_images = channel_axis(m, shape, axes), len(tensor) == given[0] and not _is_plain(taken)
            tokens = token_grid(shape, layers) if of_images else None
            layer = Layer(place, kind, shape, axis, bool(own), own, tokens=tokens, made_by=originals.get(name))
            layers.append(replace(layer, dead=not of_images or is_window(layer, layers)))

    def attend(p: torch.Tensor) -> torch.Tensor:
        name = running[-1] + ATTENTION
        calls[name] = calls.get(name, 0) + 1
        rows = () if len(p) == given[0] else (len(p) // given[0],)  # windows, or heads, of one image
        place = name if calls[name] == 1 else f"{name}:{calls[name]}"
        counts = {1} | {layer.shape[0] for layer in layers if layer.tokens}
        if p.shape[-2] == p.shape[-1] or counts.issuperset(p.shape[-2:]):  # else to experts, say, or from questions
            layers.append(Layer(place, "probabilities", (*rows, *p.shape[1:]), dead=True))
        return p

    makers = {id(part) for m in module.modules() if isinstance(m, ParametrizationList) for part in m.modules()}
    for name, m in module.named_modules():
        if name and not isinstance(m, torch.jit.ScriptModule) and id(m) not in makers:
            hook = lambda m, args, kwargs, y, name=name: meet(name, m, (args, kwargs), y)  # noqa: E731
            m.register_forward_hook(hook, with_kwargs=True)
            telling(m, name, running)
    with torch.no_grad(), Open(attend):
        run(module)
    return layers


def _is_plain(taken: Any) -> bool:
    """Whether what a module took is numbers and names alone: what it gives, such as a bias of places, is of no image."""
    return all(isinstance(leaf, int | float | str | None) for leaf in tree_flatten(taken)[0])


def _own(m: nn.Module) -> list[str]:
    """The names of a module's own parameters, and of those that its parametrized weights are made of."""
    inner = m.parametrizations.named_parameters("parametrizations") if is_parametrized(m) else ()
    return [name for name, _ in (*m.named_parameters(recurse=False), *inner)]
