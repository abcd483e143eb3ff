"""The PyTorch adapter: one forward and one backward pass of a twin of the user's module."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from sightline.arrays import tile
from sightline.errors import InputError, ModelError
from sightline.frameworks.torch.checkpoints import refusing_checkpoints
from sightline.frameworks.torch.compiled import NOTE, compiled
from sightline.frameworks.torch.detectors import is_torchvision
from sightline.frameworks.torch.entrance import entered
from sightline.frameworks.torch.folds import folded
from sightline.frameworks.torch.layouts import laid_out
from sightline.frameworks.torch.norms import with_even_norms
from sightline.frameworks.torch.outputs import by_image, choose, chosen, usable
from sightline.frameworks.torch.parameters import parameters_in_order
from sightline.frameworks.torch.places import kept, met
from sightline.frameworks.torch.pool import FOLDING, MIXED, WRITING, Spare, borrowed, held, looked_at
from sightline.frameworks.torch.precision import casting, checked, tensor_float, told
from sightline.frameworks.torch.replay import Memory, Ran, answering, remember
from sightline.frameworks.torch.taps import Taps, tapped
from sightline.frameworks.torch.twin import twin
from sightline.frameworks.torch.undisturbed import is_quick
from sightline.frameworks.torch.watch import Watch
from sightline.layers import without_dead_grids, without_unread
from sightline.model import Edit, Layer, Place, Rule, Target, Trace, places_of, rows_of, scored_of

_QUICK = 64 * 2**20  # bytes: a value of more is out of every cache, and its memory asked for anew, page by page


@dataclass(frozen=True)
class TorchModel:
    """Any `nn.Module`, on any device; the module itself is never touched."""

    module: nn.Module
    others: Mapping[str, torch.Tensor] = field(default_factory=dict)  # the inputs that are not explained
    input: str | None = None  # the keyword of the input that is explained; None: the first argument
    output: str | int | None = None
    chunk: int = 8
    channel: int = -3
    precision: torch.dtype | None = None  # of the operations that gain by it; None: as the model is
    compiles: bool = False  # passes that only go from the image to the scores and back

    def array(self, x: Any) -> torch.Tensor:
        """`x` in the model's precision, on its device, channels last where the model has convolutions."""
        own, x = _first_weight(self.module), torch.as_tensor(x)
        if x.is_floating_point() or x.dtype == torch.uint8:  # before it moves: not every device has float64
            x = x.to(own.dtype if own is not None else torch.get_default_dtype())
        x = x if own is None else x.to(own.device)
        return x.contiguous(memory_format=torch.channels_last) if self.channels_last and x.ndim == 4 else x

    @property
    def channels_last(self) -> bool:
        """Whether the image is laid out channels last: from the model alone, never from the batch; see `layouts`, too."""
        own = _first_weight(self.module)
        narrow = own is not None and own.dtype != torch.float64
        return narrow and any(p.ndim == 4 for p in self.module.parameters())

    @property
    def computed(self) -> dict[str, str]:
        """Where and how passes are computed, for the answer."""
        own = _first_weight(self.module)
        layout = "channels_last" if self.channels_last else "contiguous"
        if is_quick(own) and not (self.precision or self.compiles):
            layout += " but for convolutions of many weights" if self.module in MIXED else ""
            layout += ", batch norms folded where nothing asks for them" if self.module in FOLDING else ""
        precision = told(self.precision or (torch.get_default_dtype() if own is None else own.dtype))
        rounded = "" if self.precision else tensor_float(own)
        return {"device": str(device_of(self.module)), "precision": precision + rounded, "layout": layout}

    def in_precision(self, name: str) -> TorchModel:
        """This model with passes in that precision; ModelError where there is none."""
        return replace(self, precision=checked(name, _first_weight(self.module)))

    def compiling(self) -> tuple[TorchModel, str]:
        """This model with passes compiled where they can be, and a note on which are."""
        return replace(self, compiles=True), NOTE

    @property
    def quick(self) -> int | None:
        """Bytes up to which a value is quick to make, on the CPU; never less than the weights, which each pass reads."""
        if device_of(self.module).type != "cpu":
            return None
        weights: int = sum(p.nbytes for p in self.module.parameters())
        return max(_QUICK, weights)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Within it the module is taken to stay as it is; weights that are changed in place are seen all the same. What
        is computed between the passes is so in its own precision, also where the caller is inside an autocast.
        """
        with held(), casting(device_of(self.module), None):
            yield

    @property
    def free(self) -> int | None:
        """Bytes that are free on a GPU, also those that PyTorch keeps for later; None elsewhere."""
        device = device_of(self.module)
        if device.type != "cuda":
            return None
        kept: int = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        free, _ = torch.cuda.mem_get_info(device)
        return int(free) + kept

    def places(self, x: torch.Tensor) -> list[Layer]:
        """The layers of the module as one pass of the first image meets them; remembered for the latest inputs, with a twin
        that shows every change of the module, else as long as this has the same parts.
        """
        others = tuple((name, tuple(value.shape), _switch(value)) for name, value in self.others.items())
        key = (self.input, self.output, tuple(x.shape[1:]), others)
        images = x if self.others else x[:1]

        def meet() -> list[Layer]:
            run = lambda module: self._call(module, self.array(images), images.shape[0])  # noqa: E731
            layers = met(self.module, tuple(images.shape), self.channel, run)
            bare = replace(self, precision=None)
            layers = without_dead_grids(bare, images, layers)
            return layers if is_torchvision(self.module) else without_unread(bare, images, layers)

        with torch.inference_mode(False), looked_at(self.module) as spare:
            known, _ = spare.layers
        if not spare.plain or self.module in WRITING:
            return kept(self.module, key, meet)
        if known != key:
            spare.layers = key, meet()
        return list(spare.layers[1])

    def parameters(self, x: torch.Tensor) -> list[tuple[str, tuple[Place, ...]]]:
        """Every module with parameters of its own, and their places, in the order in which a pass of `x` enters them."""
        return parameters_in_order(twin(self.module), lambda module: self._call(module, self.array(x), x.shape[0]))

    def run(
        self,
        x: torch.Tensor,
        *,
        at: Sequence[Place] = (),
        edit: Mapping[Place, Edit] | None = None,
        target: Target | Callable[..., Any] | None = None,
        rule: Rule | None = None,
        memory: Memory | None = None,
    ) -> Trace:
        """One pass of a twin, recorded from the shallowest place in `at` on; see `sightline.model.Model.run`."""
        scored = getattr(target, "place", None)  # whose value is scored; None: the outputs
        places = [*at, *places_of(scored)]
        x, images, edit = usable(self.array(x)).detach(), x.shape[0], edit or {}
        if memory is not None:
            images = rows_of(edit)
            if rule is not None or any(memory.holds(place) for place in (*places, *edit)):
                x, memory = tile(x, images // x.shape[0]), None
        with ExitStack() as stack:
            stack.enter_context(torch.inference_mode(False))
            stack.enter_context(casting(device_of(self.module), None))
            stack.enter_context(torch.set_grad_enabled(target is not None))
            spare = stack.enter_context(borrowed(self.module))
            if memory is not None:
                x = stack.enter_context(answering(spare, memory, images))
            kinds = None if self.compiles else frozenset[str]() if rule is None else getattr(rule, "kinds", None)
            stack.enter_context(folded(spare.chains, kinds))
            taps = stack.enter_context(tapped(spare, places, edit, target is not None, self.precision))
            stack.enter_context(laid_out(spare.convs, kinds))
            with self._casting():
                outputs, head, notes = self._watched(spare, taps, x, images, rule)
            if target is None:
                return Trace(outputs.detach(), None, taps.values, {}, head, notes)
            score = _usable_target(target)(scored_of(scored, outputs, taps.values))
            score = score[None] if score.ndim == 1 else score
            grads, unread = _gradients(score, {place: taps.values[place] for place in at}) if at else ({}, frozenset())
        values = {place: taps.values[place].detach() for place in at}
        return Trace(outputs.detach(), score.detach(), values, grads, head, notes, unread)

    def remember(self, x: torch.Tensor, place: Place) -> Memory | None:
        """What copies of `x` need not do again before `place`; None where the whole pass must be run."""
        if is_torchvision(self.module):  # its parts hand on lists of images, which cannot be repeated as tensors can
            return None
        x, images = usable(self.array(x)).detach(), x.shape[0]

        def run(spare: Spare, taps: Taps, x: torch.Tensor) -> Ran:
            with laid_out(spare.convs, frozenset()):
                return self._watched(spare, taps, x, images, None)

        with self._casting():
            return remember(self.module, x, place, self.precision, run)

    def _casting(self) -> AbstractContextManager[Any]:
        return casting(device_of(self.module), self.precision)

    def _watched(
        self, spare: Spare, taps: Taps, x: torch.Tensor, images: int, rule: Rule | None
    ) -> tuple[torch.Tensor, str, tuple[str, ...]]:
        """The outputs before the head, its kind, and notes; with neither a head nor a rule no function mode is on."""
        if rule is None and self.output in spare.headless and not taps.attention:
            inner = compiled(spare) if self.compiles and not taps.inside else spare.module
            given = self._call(spare.module, taps.tap("", x), images, inner)
            outputs, head = choose(given, self.output), ""
        else:
            with Watch(rule) as watch, taps.opened(watch.places), taps.telling(_told(rule, watch, taps)):
                given = self._call(spare.module, watch.start(taps.tap("", x)), images)
            outputs, head = watch.before_head(choose(given, self.output))
            if not head and not (watch.met_head and taps.inside):
                spare.headless.add(self.output)
            outputs = watch.scores(outputs)
            _check_rule(rule, watch.hits, spare.scripted)
        taps.check()
        outputs = outputs if self.precision is None else outputs.float()
        return by_image(outputs, images), head, chosen(given, self.output)

    def _call(self, module: nn.Module, x: torch.Tensor, images: int, inner: Callable[..., Any] | None = None) -> Any:
        """What the module gives, or what stands for it."""
        inner = inner or module
        others = {name: self._companion(name, value, images) for name, value in self.others.items()}

        def call(x: Any) -> Any:
            return inner(x, **others) if self.input is None else inner(**{self.input: x} | others)

        alone = not others and self.input is None and self.output is None
        return entered(module, x, call) if alone else call(x)

    def _companion(self, name: str, value: torch.Tensor, images: int) -> torch.Tensor:
        """Another input for a pass of that many images, which are those of the input over and over; a number as it is."""
        value = self.array(value) if value.is_floating_point() else value.to(device_of(self.module))
        if value.ndim == 0:
            return value
        if images % value.shape[0]:
            raise InputError(
                f"{images} images came with {value.shape[0]} rows of the input {name!r}; expected as many, or a divisor.",
                "Give each of the other inputs one row for each image.",
            )
        return value.repeat(images // value.shape[0], *[1] * (value.ndim - 1))


def _switch(value: torch.Tensor) -> Any:
    """The numbers of an input that may tell a model which way to go."""
    return value.tolist() if value.numel() <= 16 else None


def _told(rule: Rule | None, watch: Watch, taps: Taps) -> list[str] | None:
    """Where the module that runs is kept, if anyone asks."""
    return watch.places if taps.attention or (rule and watch.kinds is None) else None


def _usable_target(target: Target | Callable[..., Any]) -> Callable[..., Any]:
    """The target with arrays that may take part in a graph, although they were made in inference mode."""
    if not isinstance(target, Target):
        return target
    return replace(target, arrays=tuple(usable(a) for a in target.arrays))


def _first_weight(module: nn.Module) -> torch.Tensor | None:
    """The first parameter or buffer that holds numbers with a fraction: it tells precision and device."""
    own = (t for kind in ("_parameters", "_buffers") for part in module.modules() for t in getattr(part, kind).values())
    return next((t for t in own if t is not None and t.is_floating_point()), None)


def device_of(module: nn.Module) -> torch.device:
    """Where the module's numbers lie."""
    own = _first_weight(module)
    return torch.device("cpu") if own is None else own.device


def _gradients(
    score: torch.Tensor, values: Mapping[Place, torch.Tensor]
) -> tuple[dict[Place, torch.Tensor], frozenset[Place]]:
    """The gradient of each score at each place, (k, n, ...), and the places from which nothing leads to any of them."""
    score, leaves, last = with_even_norms(score), list(values.values()), score.shape[0] - 1
    with refusing_checkpoints(score):
        each = [
            torch.autograd.grad(row.sum(), leaves, retain_graph=j < last, allow_unused=True)
            if row.requires_grad
            else ()
            for j, row in enumerate(score)
        ]
    if all(grad is None for grads in each for grad in grads):  # a quantised operation gives none and only warns
        raise ModelError(
            f"a gradient at {_names(values)} was asked for; the scores have none there (quantised, detached, or not read).",
            "Use a method that needs no gradient, such as occlusion, another layer, or the model in floating point.",
        )
    unread = frozenset(place for place, own in zip(values, zip(*each)) if all(grad is None for grad in own))
    filled = [[torch.zeros_like(a) if g is None else g for a, g in zip(leaves, grads)] for grads in each]
    return {place: torch.stack(grads) if last else grads[0][None] for place, grads in zip(values, zip(*filled))}, unread


def _names(places: Iterable[Place]) -> str:
    return ", ".join(repr(place) if place else "the image" for place in places)


def _check_rule(rule: Rule | None, hits: int, scripted: bool) -> None:
    if rule is not None and (scripted or not hits):
        raise ModelError(
            f"the backward rule {getattr(rule, '__name__', 'given')!r} "
            + ("does not reach into TorchScript." if scripted else "met none of its operations (ReLU) in this model."),
            "Use a model with ReLUs that is not TorchScript, or a method without a rule, such as gradient.",
        )
