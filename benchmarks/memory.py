"""The table of what maps hold: each row is measured in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass

MB = 10**6
MEASURED = ("grad-cam", "score-cam", "integrated-gradients", "ablation-cam")


@dataclass(frozen=True)
class MemoryRow:
    """What was measured, and the most that it may be."""

    what: str
    limit: int  # bytes
    measured: int


def memory_rows() -> list[MemoryRow]:
    """Every measurement, in the order of the table."""
    found = []
    for name in MEASURED:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.memory_cost", name], stdout=subprocess.PIPE, text=True, check=True
        )
        found.append(MemoryRow(**json.loads(done.stdout.splitlines()[-1])))
    return found


def memory_page() -> str:
    """The measurements, as a section of the results."""
    return f"""
## What a map holds

Measured on PyTorch, with random weights, each in a process of its own. What autograd keeps is counted by its own hooks,
without the weights; the rest is the most that the process held, of which the libraries and the weights are a part where it
says "in all". Streams are stopped after some passes, since all of them hold the same.

{memory_table(memory_rows())}
"""


def memory_table(rows: Iterable[MemoryRow]) -> str:
    """The table."""
    lines = ["| what | at most, MB | measured, MB |", "| --- | --- | --- |"]
    return "\n".join([*lines, *(f"| {r.what} | {r.limit / MB:,.0f} | {_told(r.measured)} |" for r in rows)])


def _told(measured: int) -> str:
    return f"{measured / MB:,.3f}" if measured < MB else f"{measured / MB:,.0f}"
