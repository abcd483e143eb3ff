"""Contenders in turn, in one process, each between two runs of its limit."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Run = Callable[[], object]
BUDGET = float(os.environ.get("SIGHTLINE_BENCH_BUDGET", "1"))  # a share of the usual time: a look, not a measurement
_MOST = 25  # rounds: more tell no more
_SHORT = 0.1  # seconds


def at_once(result: Any) -> None:
    """Nothing to wait for: the work is done when the call returns."""


@dataclass(frozen=True)
class Part:
    """Bare passes of one kind: one run, and how much of it the limit holds."""

    unit: str  # "F", "FB", "tail"
    passes: int  # in the limit
    run: Run
    in_run: int = 1  # passes that one run makes


Limit = tuple[Part, ...]  # what a method would cost that did nothing but the passes of its definition


@dataclass(frozen=True)
class Contender:
    """Something that makes a map."""

    run: Run
    limit: Limit
    warm: Run | None = None  # instead of a whole run beforehand
    share: float = 1.0  # of the work that `run` does: the time is divided by it


@dataclass(frozen=True)
class Cost:
    """The shortest time in seconds, and the median of the ratios to the limit that ran before and after."""

    seconds: float
    ratio: float


def costs(
    contenders: Mapping[str, Contender],
    seconds: float,
    least: int = 2,
    synchronise: Callable[[Any], object] = at_once,
) -> dict[str, Cost]:
    """What each contender costs: as many rounds as go into `seconds`, but at least `least`.

    Shared machines change their speed from second to second: a time means something only beside those of the limit
    just before and just after it. `synchronise` waits for what a run has returned.
    """
    for contender in contenders.values():
        synchronise((contender.warm or contender.run)())
    for part in {id(part): part for contender in contenders.values() for part in contender.limit}.values():
        synchronise(part.run())  # a compiler's first pass is no pass
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    start, done = time.perf_counter(), 0
    while done < (least if BUDGET >= 1 else 1) or (
        done < _MOST and (time.perf_counter() - start) * (done + 1) / done < seconds * BUDGET
    ):
        for name, times in _round(contenders, synchronise).items():
            found[name].append(times)
        done += 1
    return {name: _cost(rows) for name, rows in found.items()}


def _round(contenders: Mapping[str, Contender], synchronise: Callable[[Any], object]) -> dict[str, tuple[float, float]]:
    """Each contender once: its time, and that over its limit's. Between two with the same limit that runs once."""
    found, known, before = dict[str, tuple[float, float]](), None, 0.0
    for name, contender in contenders.items():
        if contender.limit is not known:
            known, before = contender.limit, _limit(contender.limit, synchronise)
        own = _time(contender.run, synchronise) / contender.share
        after = _limit(known, synchronise)
        found[name] = own, own / ((before + after) / 2)
        before = after
    return found


def _limit(limit: Limit, synchronise: Callable[[Any], object]) -> float:
    return sum(_time(part.run, synchronise) * part.passes / part.in_run for part in limit)


def _cost(rows: Sequence[tuple[float, float]]) -> Cost:
    times, ratios = zip(*rows)
    return Cost(min(times), statistics.median(ratios))


def _time(run: Run, synchronise: Callable[[Any], object]) -> float:
    """Of short runs the shortest of three: what ran before leaves the first one other memory, and caches of its own."""
    first = _once(run, synchronise)
    return first if first > _SHORT else min(first, _once(run, synchronise), _once(run, synchronise))


def _once(run: Run, synchronise: Callable[[Any], object]) -> float:
    synchronise(None)
    begin = time.perf_counter()
    synchronise(run())
    return time.perf_counter() - begin
