"""Contenders in turn, in one process, each between two runs of its limit."""

from __future__ import annotations

import gc
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Run = Callable[[], object]
Timed = Callable[[Run], float]
BUDGET = float(os.environ.get("SIGHTLINE_BENCH_BUDGET", "1"))  # a share of the usual time: a look, not a measurement
_MOST = 25  # rounds: more tell no more
_SHORT = 0.1  # seconds


def at_once(result: Any) -> None:
    """Nothing to wait for: the work is done when the call returns."""


def by_the_clock(run: Run, wait: Callable[[Any], object] = at_once) -> float:
    """Seconds that a run takes; `wait` waits for what it has returned."""
    wait(None)
    begin = time.perf_counter()
    wait(run())
    return time.perf_counter() - begin


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
    timed: Timed = by_the_clock,
) -> dict[str, Cost]:
    """What each contender costs: as many rounds as go into `seconds`, but at least `least`.

    Shared machines change their speed from second to second: a time means something only beside those of the limit
    just before and just after it. `timed` runs something, and tells how many seconds it took.
    """
    for contender in contenders.values():
        timed(contender.warm or contender.run)
    for part in {id(part): part for contender in contenders.values() for part in contender.limit}.values():
        timed(part.run)  # a compiler's first pass is no pass
    gc.collect()
    gc.freeze()  # else Python's collector walks through all libraries in the time of whoever runs when that is due
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    start, done = time.perf_counter(), 0
    while done < (least if BUDGET >= 1 else 1) or (
        done < _MOST and (time.perf_counter() - start) * (done + 1) / done < seconds * BUDGET
    ):
        for name, times in _round(contenders, timed).items():
            found[name].append(times)
        done += 1
    return {name: _cost(rows) for name, rows in found.items()}


def _round(contenders: Mapping[str, Contender], timed: Timed) -> dict[str, tuple[float, float]]:
    """Each contender once: its time, and that over its limit's. Between two with the same limit that runs once."""
    found, known, before = dict[str, tuple[float, float]](), None, 0.0
    for name, contender in contenders.items():
        if contender.limit is not known:
            known, before = contender.limit, _limit(contender.limit, timed)
        own = _time(contender.run, timed) / contender.share
        after = _limit(known, timed)
        found[name] = own, own / ((before + after) / 2)
        before = after
    return found


def _limit(limit: Limit, timed: Timed) -> float:
    return sum(_time(part.run, timed) * part.passes / part.in_run for part in limit)


def _cost(rows: Sequence[tuple[float, float]]) -> Cost:
    times, ratios = zip(*rows)
    return Cost(min(times), statistics.median(ratios))


def _time(run: Run, timed: Timed) -> float:
    """Of short runs the shortest of three: what ran before leaves the first one other memory, and caches of its own."""
    first = timed(run)
    return first if first > _SHORT else min(first, timed(run), timed(run))
