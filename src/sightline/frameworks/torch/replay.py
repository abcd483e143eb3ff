"""Tails: what a pass does before a place is done once, and answered from memory afterwards.

A twin runs once and notes what each module gave before the place did. In a later pass these modules give the same
again without running, repeated for as many copies of the images; what the model does between its modules, and after the
place, runs. Whether that holds is seen at once: the tail of the place's own value must give the model's own outputs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map_only

from sightline.frameworks.torch.pool import Spare, borrowed
from sightline.frameworks.torch.taps import Taps, tapped
from sightline.model import Place, Trace

Ran = tuple[torch.Tensor, str, tuple[str, ...]]  # the outputs, the kind of the head, notes


@dataclass(frozen=True)
class Memory:
    """What modules gave up to a place: of each the outputs of its first calls, and which of them something reads."""

    place: Place
    image: torch.Tensor
    given: Mapping[str, list[Any]]
    read: frozenset[int]  # ids of the tensors that something reads: only these are repeated
    trace: Trace  # of the pass of the images themselves, which recorded the place

    @property
    def held(self) -> int:
        """How many values of one image are repeated for each of its copies."""
        sizes: dict[int, int] = {id(t): t.numel() for t in tree_leaves([self.image, self.given]) if id(t) in self.read}
        return sum(sizes.values()) // len(self.image)

    def grown(self, y: Any, copies: int) -> Any:
        """What a module gave, for that many copies of the images."""

        def repeated(t: torch.Tensor) -> torch.Tensor:
            if id(t) not in self.read:
                return t
            many = copies if t.shape[:1] == self.image.shape[:1] else 1
            return t.repeat(many, *[1] * (t.ndim - 1)) if t.ndim else t.clone()

        return repeated(y) if isinstance(y, torch.Tensor) else tree_map_only(torch.Tensor, repeated, y)

    def holds(self, place: str) -> bool:
        """Whether a place lies in what is not run any more."""
        return place != self.place and any(place == n or place.startswith((f"{n}.", f"{n}:")) for n in self.given)


@dataclass
class Recorder:
    """Notes what is finished with the place: its own call, and those whose caller is still at work."""

    place: str
    frames: list[list[tuple[str, Any]]] = field(default_factory=lambda: [[]])
    finished: list[tuple[str, Any, list[int]]] | None = None  # the last: versions of the tensors
    calls: Counter[str] = field(default_factory=Counter)

    def enter(self, *_: Any) -> None:
        """A module begins."""
        if self.finished is None:
            self.frames.append([])

    def leave(self, name: str, y: Any) -> None:
        """A module has given `y`."""
        if self.finished is not None:
            return
        self.frames.pop()
        self.calls[name] += 1
        if self.place == (name if self.calls[name] == 1 else f"{name}:{self.calls[name]}"):
            done = [*(call for frame in self.frames for call in frame), (name, y)]  # the value itself is given anew
            self.finished = [(module, given, _versions(given)) for module, given in done]
        else:
            self.frames[-1].append((name, y))

    def memory(self, image: torch.Tensor, trace: Trace) -> Memory:
        """What was finished, as if nothing read it."""
        given: dict[str, list[Any]] = {}
        for name, y, _ in self.finished or []:
            given.setdefault(name, []).append(y)
        return Memory(self.place, image, given, frozenset(), trace)

    def intact(self, read: frozenset[int]) -> bool:
        """Whether what is read is still as it was given."""
        return all(
            versions == _versions(y) or not any(id(t) in read for t in tree_leaves(y))
            for _, y, versions in self.finished or []
        )


def _versions(y: Any) -> list[int]:
    return [t._version for t in tree_leaves(y) if isinstance(t, torch.Tensor)]


@contextmanager
def recording(spare: Spare, place: str) -> Iterator[Recorder]:
    """Note what a pass of the twin finishes before `place`."""
    recorder, handles, names = Recorder(place), [], dict[int, str]()
    for name, module in spare.modules.items():
        if name and names.setdefault(id(module), name) == name:
            leave = lambda m, given, y, name=name: recorder.leave(name, y)  # noqa: E731
            handles += [module.register_forward_pre_hook(recorder.enter), module.register_forward_hook(leave)]
    yield recorder
    for handle in handles:  # after an exception the twin is thrown away as a whole
        handle.remove()


class Reads(TorchFunctionMode):
    """Sees which tensors of a memory anything reads."""

    def __init__(self, memory: Memory) -> None:
        """`found` fills while the mode is on."""
        super().__init__()
        self.known = {id(t): id(t) for t in tree_leaves([memory.image, memory.given])}
        self.image, self.found = memory.image, set[int]()
        self.copy: torch.Tensor | None = None  # of the image, as every pass makes one first: read is what reads that

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """One call of torch."""
        if func is torch.Tensor.clone and args[0] is self.image and self.copy is None:
            self.copy = func(*args)
            self.known[id(self.copy)] = id(self.image)
            return self.copy
        self.found |= {self.known[id(t)] for t in tree_leaves((args, kwargs)) if id(t) in self.known}
        return func(*args, **(kwargs or {}))


@contextmanager
def answering(spare: Spare, memory: Memory, images: int) -> Iterator[torch.Tensor]:
    """The image for a pass in which the finished modules of the twin give what they gave, as many images as that."""
    copies = images // memory.image.shape[0]
    changed = [spare.modules[name] for name in memory.given]
    for name, module in zip(memory.given, changed):
        answer = _first(iter(memory.given[name]), lambda y: memory.grown(y, copies), module.forward)
        module.__dict__["forward"] = answer
    yield memory.grown(memory.image, copies)
    for module in changed:
        del module.__dict__["forward"]


def _first(given: Iterator[Any], grown: Callable[[Any], Any], forward: Callable[..., Any]) -> Callable[..., Any]:
    """A forward pass that answers from memory as long as that lasts."""
    end = object()

    def answer(*args: Any, **kwargs: Any) -> Any:
        y = next(given, end)
        return forward(*args, **kwargs) if y is end else grown(y)

    return answer


def remember(
    module: nn.Module,
    x: torch.Tensor,
    place: Place,
    precision: torch.dtype | None,
    run: Callable[[Spare, Taps, torch.Tensor], Ran],
) -> Memory | None:
    """What copies of `x` need not do again before `place`, seen to hold for `run`, a pass of a twin; else None."""
    if place.startswith((":", "=")) or any(isinstance(part, torch.jit.ScriptModule) for part in module.modules()):
        return None
    with torch.inference_mode(False), torch.no_grad():
        with (
            borrowed(module) as spare,
            recording(spare, place) as recorder,
            tapped(spare, [place], {}, False, precision) as taps,
        ):
            outputs, head, notes = run(spare, taps, x)
        memory = recorder.memory(x, Trace(outputs, None, taps.values, {}, head, notes))
        reads, edit = Reads(memory), dict(taps.values)
        try:
            with (
                borrowed(module) as spare,
                answering(spare, memory, len(x)) as image,
                tapped(spare, [], edit, False, precision) as taps,
                reads,
            ):
                again, *_ = run(spare, taps, image)
        except Exception:  # a forward pass of the user's own may need what its modules do besides giving a value
            return None
    read = frozenset(reads.found)
    return replace(memory, read=read) if recorder.intact(read) and _alike(again, outputs) else None


def _alike(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two outputs are equal but for rounding."""
    slack = 1e-6 * float(b.abs().max())
    return a.shape == b.shape and bool(torch.allclose(a, b, rtol=1e-5, atol=slack, equal_nan=True))
