"""Contenders in turn, in one process: the minimum of each over interleaved rounds."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping


def minima(contenders: Mapping[str, Callable[[], object]], seconds: float = 20.0, rounds: int = 5) -> dict[str, float]:
    """The shortest time of each contender in seconds: at least `rounds` rounds, more while `seconds` last.

    Shared machines are noisy: only ratios of minima, taken in turn in one process, mean something.
    """
    for run in contenders.values():
        run()
    best = dict.fromkeys(contenders, float("inf"))
    start, done = time.perf_counter(), 0
    while done < rounds or time.perf_counter() - start < seconds:
        for name, run in contenders.items():
            begin = time.perf_counter()
            run()
            best[name] = min(best[name], time.perf_counter() - begin)
        done += 1
    return best
