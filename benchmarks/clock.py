"""Contenders in turn, in one process, each between two runs of its limit."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Run = Callable[[], object]


@dataclass(frozen=True)
class Limit:
    """Bare passes: what a method would cost that did nothing else."""

    unit: str  # F or FB
    run: Run
    passes: int = 1


@dataclass(frozen=True)
class Contender:
    """Something that makes a map, whose definition needs `passes` bare ones."""

    run: Run
    limit: Limit
    passes: int = 1


@dataclass(frozen=True)
class Cost:
    """The shortest time in seconds, and the median of the ratios to the limit that ran before and after."""

    seconds: float
    ratio: float


def costs(contenders: Mapping[str, Contender], seconds: float = 20.0, rounds: int = 5) -> dict[str, Cost]:
    """What each contender costs: at least `rounds` rounds, more while `seconds` last.

    Shared machines change their speed from second to second: a time means something only beside those of the limit
    just before and just after it.
    """
    for contender in contenders.values():
        contender.run()
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    start, done = time.perf_counter(), 0
    while done < rounds or time.perf_counter() - start < seconds:
        for name, contender in contenders.items():
            before, own, after = (_time(run) for run in (contender.limit.run, contender.run, contender.limit.run))
            bare = (before + after) / 2 / contender.limit.passes
            found[name].append((own, own / (bare * contender.passes)))
        done += 1
    return {name: _cost(rows) for name, rows in found.items()}


def _cost(rows: Sequence[tuple[float, float]]) -> Cost:
    times, ratios = zip(*rows)
    return Cost(min(times), statistics.median(ratios))


def _time(run: Run) -> float:
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin
