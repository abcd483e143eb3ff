"""Hooks on a twin: what to record, and what to put in place of a value on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from sightline.errors import LayerError, ModelError
from sightline.frameworks.torch.attention import Open
from sightline.frameworks.torch.checkpoints import refuse_inside
from sightline.frameworks.torch.outputs import usable, with_first_tensor
from sightline.frameworks.torch.pool import Spare
from sightline.model import ATTENTION, Edit, Place


class Taps:
    """The places of one pass: `values` is what was recorded."""

    def __init__(
        self, spare: Spare, at: Sequence[Place], edit: Mapping[Place, Edit], grads: bool, lowered: bool = False
    ) -> None:
        """Hooks for `at` and `edit` on the twin; with `grads`, what is recorded starts the graph.

        In a pass of `lowered` precision whoever records or edits sees float32.
        """
        self.spare, self.at, self.edit, self.grads = spare, set(at), edit, grads
        self.modules, self.lowered = spare.modules, lowered
        self.values: dict[Place, torch.Tensor] = {}
        self.handles: list[RemovableHandle] = []
        self.met: set[Place] = set()
        self.lent: list[tuple[Place, torch.Tensor, torch.Tensor, int]] = []  # whose value, what was given, its version
        self.attention: list[tuple[nn.Module, _Nth]] = []  # whose attention, and which of it
        for place in dict.fromkeys([*at, *edit]):
            self._place(place)

    def tap(self, place: Place, y: torch.Tensor) -> torch.Tensor:
        """Edit and record the value at a place. Nothing before the first recorded one keeps a graph."""
        self.met.add(place)
        kind = y.dtype if self.lowered else None  # a memory takes a look at a tensor for its being read
        if kind and kind.is_floating_point and (place in self.edit or place in self.at):
            y = y.float()
        if place in self.edit:
            new = self.edit[place]
            y = usable(new(y) if callable(new) else new)
        if place in self.at:
            refuse_inside()
            y = y.clone()  # its own: whoever else holds what came here may write it, and has other ways to the score
            if self.grads and not y.requires_grad:
                y.requires_grad_()
            self.values[place] = y
        given = y.to(kind) if kind else y
        return self._lent(place, y) if given is y else given

    def _lent(self, place: Place, y: torch.Tensor) -> torch.Tensor:
        """A copy, since an operation in place may follow; `y` itself, where none did in an earlier pass of the twin.

        That holds from pass to pass for what is given in place of a layer's value where nothing is recorded: a rule may
        put another operation in its place, and a model may look at its image before it overwrites it.
        """
        if self.at or place not in self.edit:
            return y.clone()
        given = y if place in self.spare.unwritten else y.clone()
        with torch._C.DisableTorchFunction():  # whoever watches what the model reads
            self.lent.append((place, y, given, given._version))
        return given

    @property
    def inside(self) -> bool:
        """Whether there are places other than the image."""
        return any({*self.at, *self.edit})

    def check(self) -> None:
        """Every place was met, or LayerError; and what was given is as it was, or ModelError."""
        missed = sorted({*self.at, *self.edit} - self.met)
        if missed:
            raise LayerError(
                f"layer {missed[0]!r} was given; a pass of this model never reaches it.",
                "Take a name from `sightline layers MODEL`, which lists what a pass meets.",
            )
        with torch._C.DisableTorchFunction():
            self._learn_what_is_overwritten()

    def _learn_what_is_overwritten(self) -> None:
        for place, y, given, version in self.lent:
            if given is not y and given._version == version and torch.equal(given, y):
                self.spare.unwritten.add(place)
            elif given is y and given._version != version:
                raise ModelError(
                    f"the model overwrote what comes from {place or 'outside'!r} in this pass, and not in an earlier one.",
                    "Leave out its operations in place (inplace=True, +=) that run only for some images.",
                )

    @contextmanager
    def telling(self, stack: list[str] | None) -> Iterator[None]:
        """Keep `stack`, if there is one, at the module that runs."""
        if stack is not None:
            for name, module in self.modules.items():
                self.handles += telling(module, name, stack)
        yield

    def opened(self, stack: list[str]) -> AbstractContextManager[Any]:
        """Attention in its open form, where a place asks for it; `stack` ends in the module that runs."""

        def seen(p: torch.Tensor) -> torch.Tensor:
            for module, nth in self.attention:
                if module is self.modules[stack[-1]]:
                    p = nth(p)
            return p

        return Open(seen) if self.attention else nullcontext()

    def _place(self, place: Place) -> None:
        if place == "":
            return
        if place.startswith("="):
            self._parameter(place)
            return
        whole, _, call = place.removeprefix(":").partition(":")
        path = whole.removesuffix(ATTENTION)
        if path not in self.modules or not (call or "1").isdigit():
            raise LayerError(
                f"layer {place!r} was given; the model has no module called {path!r}, or it is inside TorchScript.",
                "Take a name from `sightline layers MODEL`.",
            )
        calls = _Nth(int(call or 1), lambda given: with_first_tensor(given, lambda t: self.tap(place, t)))
        if path != whole:
            self.attention.append((self.modules[path], calls))
        elif place.startswith(":"):
            before = lambda m, args, kwargs: calls((args, kwargs))  # noqa: E731
            self.handles.append(self.modules[path].register_forward_pre_hook(before, with_kwargs=True))
        else:
            self.handles.append(self.modules[path].register_forward_hook(lambda m, given, y: calls(y)))

    def _parameter(self, place: Place) -> None:
        owner, _, name = place[1:].rpartition(".")
        own = self.modules[owner]._parameters.get(name) if owner in self.modules else None
        if own is None:
            raise LayerError(
                f"parameter {place!r} was given; the model has none of that name.",
                "Take a name from the model's state_dict().",
            )
        self.spare.clean = False
        value = self.tap(place, own)
        for module in set(self.modules.values()):  # every one that shares it
            for key in [key for key, p in module._parameters.items() if p is own]:
                del module._parameters[key]
                setattr(module, key, value)


def telling(module: nn.Module, name: str, stack: list[str]) -> list[RemovableHandle]:
    """Hooks that keep `stack` at the module that runs."""

    def enter(m: nn.Module, given: Any) -> None:
        stack.append(name)

    def leave(m: nn.Module, given: Any, y: Any) -> None:
        stack.pop()

    return [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]


class _Nth:
    """Lets the n-th value through `change` and leaves the others alone."""

    def __init__(self, n: int, change: Callable[[Any], Any]) -> None:
        self.n, self.change, self.count = n, change, 0

    def __call__(self, given: Any) -> Any:
        self.count += 1
        return self.change(given) if self.count == self.n else given


@contextmanager
def tapped(
    spare: Spare, at: Sequence[Place], edit: Mapping[Place, Edit], grads: bool, precision: torch.dtype | None = None
) -> Iterator[Taps]:
    """Taps for one pass; the hooks are gone afterwards."""
    taps = Taps(spare, at, edit, grads, precision is not None)
    yield taps
    for handle in taps.handles:  # after an exception the twin is thrown away as a whole
        handle.remove()
