"""Chunked passes: all chunking of perturbed inputs lives here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from itertools import islice

from sightline.arrays import Array, namespace
from sightline.model import Model, Place, Rule, Target, Trace

Progress = Callable[[int, int | None], None]  # (batches done, batches in all)
PROGRESS: ContextVar[Progress | None] = ContextVar("PROGRESS", default=None)
"""Who wants to hear how far a stream is; set by whoever shows it."""


def packs(model: Model, inputs: Iterable[Array], total: int | None = None) -> Iterator[tuple[int, Array]]:
    """Equal batches of a lazy stream packed into passes: (how many batches, their images behind each other)."""
    inputs, tell, done = iter(inputs), PROGRESS.get(), 0
    for first in inputs:
        group = [first, *islice(inputs, max(1, model.chunk // first.shape[0]) - 1)]
        yield len(group), first if len(group) == 1 else namespace(first).concat(group, axis=0)
        done += len(group)
        if tell:
            tell(done, total)


def stream(
    model: Model,
    inputs: Iterable[Array],
    *,
    at: Sequence[Place] = (),
    target: Target | None = None,
    rule: Rule | None = None,
    total: int | None = None,
) -> Iterator[Trace]:
    """Run `model` on a lazy stream of equal batches, as many in a pass as `model.chunk` takes; one trace a batch.

    `total`, if it is known, is how many batches there will be: progress is told by it.
    """
    for count, x in packs(model, inputs, total):
        trace = model.run(x, at=at, target=target and target.repeat(count), rule=rule)
        yield from [trace] if count == 1 else (_part(trace, i, x.shape[0] // count) for i in range(count))


def _part(trace: Trace, i: int, n: int) -> Trace:
    """The `i`-th batch of `n` images out of a packed trace."""
    rows = slice(i * n, (i + 1) * n)
    return Trace(
        trace.outputs[rows, ...],
        None if trace.score is None else trace.score[:, rows],
        {place: value[rows, ...] for place, value in trace.values.items()},
        {place: grad[:, rows, ...] for place, grad in trace.grads.items()},
        trace.head,
    )
