"""PyTorch's models, their input with channels last, and their bare passes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial

import torch
import torchvision

import sightline as sl
from benchmarks.clock import Limit, Part, Run, by_the_clock
from benchmarks.families import Family
from sightline.layers import choose_layer
from sightline.stream import passing


@dataclass(frozen=True)
class Subject:
    """A torchvision model with random weights, which do not change the work, and a batch of 224 x 224."""

    name: str
    layer: str  # the last one with a grid
    batch: int = 1
    device: str = "cpu"
    precision: str = "float32"  # of sightline's passes: the bare ones and the peers' are cast by whoever times them

    @cached_property
    def given(self) -> torch.Tensor:
        """The images as torchvision's transforms give them: for sightline and for every peer."""
        images = torch.randn(self.batch, 3, 224, 224, generator=torch.Generator().manual_seed(0))
        return images.to(self.device)

    @cached_property
    def x(self) -> torch.Tensor:
        """The images channels last."""
        return self.given.contiguous(memory_format=torch.channels_last)

    def net(self) -> torch.nn.Module:
        """A new net: some peers leave hooks on what they watch."""
        torch.manual_seed(0)
        return torchvision.models.get_model(self.name, weights=None).eval().to(self.device)

    @cached_property
    def loaded(self) -> sl.Loaded:
        """A net that no peer has hooked, as sightline takes it."""
        loaded = sl.load(self.net())
        return replace(loaded, model=loaded.model.in_precision(self.precision))

    @cached_property
    def pack(self) -> int:
        """Images in a pass of many: the same for sightline, its limit and its peers, and quick for bare passes."""
        return passing(self.loaded.model, self.x)

    @cached_property
    def bare(self) -> torch.nn.Module:
        """The net of the bare passes."""
        return self.net().requires_grad_(False)

    @cached_property
    def classes(self) -> list[int]:
        """The top class of each image, which the peers are told."""
        with torch.no_grad():
            return self.bare(self.x).argmax(1).tolist()

    def limit(self, family: Family) -> Limit:
        """The bare passes of a method: of the batch itself, or full ones of copies of the image."""
        if family.passes == 1:
            return self._once[family.unit]
        forward = (Part("F", family.forward, self.forward(self.x)),) if family.forward else ()
        return (self._packs(family.unit, family.passes), *forward)

    @cached_property
    def _once(self) -> dict[str, Limit]:
        runs = {"F": self.forward(self.x), "FB": self.backward(self.x), "F + B of a block": self.to_a_layer()}
        return {unit: (Part(unit, 1, run),) for unit, run in runs.items()}

    def _packs(self, unit: str, passes: int) -> Part:
        """As many full passes as tell the time of one, no more than the limit holds."""
        count = min(self.pack, passes)
        run = (self.forward if unit == "F" else self.backward)(self._copies(count))
        packs = max(1, min(3, passes // count // 2))
        return Part(unit, passes, lambda: [run() for _ in range(packs)], packs * count)

    def _copies(self, count: int) -> torch.Tensor:
        return self.x.repeat(count, 1, 1, 1).contiguous(memory_format=torch.channels_last)

    def forward(self, x: torch.Tensor) -> Run:
        """A pass without a graph."""

        net = self.bare  # made out of inference mode, since gradients are asked of it, too

        def run(x: torch.Tensor) -> torch.Tensor:
            with torch.inference_mode():
                return net(x)

        return _in_the_quicker_layout(run, x)

    def to_a_layer(self) -> Run:
        """A pass forward, and back to the layer at which sightline's CAMs lie: nothing before it keeps a graph."""
        net, leaves = self.net().requires_grad_(False), list[torch.Tensor]()

        def start(module: torch.nn.Module, given: object, y: torch.Tensor) -> torch.Tensor:
            leaves[:] = [y.detach().requires_grad_()]
            return leaves[0]

        net.get_submodule(choose_layer(self.loaded.model.places(self.x), None).name).register_forward_hook(start)
        return lambda: torch.autograd.grad(net(self.x).max(1).values.sum(), leaves[0])

    def backward(self, x: torch.Tensor, targets: int = 1) -> Run:
        """A pass forward, and the gradients of the highest scores at the images."""

        def run(x: torch.Tensor) -> list[torch.Tensor]:
            leaf = x.detach().requires_grad_()
            scores = self.bare(leaf).topk(targets).values.sum(0)
            return [torch.autograd.grad(s, leaf, retain_graph=i + 1 < targets)[0] for i, s in enumerate(scores)]

        return _in_the_quicker_layout(run, x)


def _in_the_quicker_layout(run: Callable[[torch.Tensor], object], x: torch.Tensor) -> Run:
    """A bare pass of images that lie as it is quicker on this machine: channels last, as on a GPU, or first."""
    last = x.contiguous(memory_format=torch.channels_last)
    if x.is_cuda:
        return partial(run, last)
    runs = [partial(run, last), partial(run, x.contiguous())]
    for bare in runs:
        bare()
    return min(runs, key=lambda bare: min(by_the_clock(bare) for _ in range(2)))
