"""Rows of the table: written as JSON lines by each framework's process, read by the one that draws it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

from benchmarks.clock import Contender, costs


@dataclass(frozen=True)
class Row:
    """One contender's time, and its ratio to the passes that the method's definition needs."""

    model: str
    batch: int
    method: str
    by: str
    unit: str  # F or FB
    passes: int
    seconds: float
    ratio: float  # of the cost to (passes x the bare pass)


def rows(model: str, batch: int, contenders: Mapping[str, Contender], **long: float) -> list[Row]:
    """Measure contenders, whose names are "method: by whom"; `long` goes to the clock."""
    found = costs(contenders, **long)
    told = [(*name.split(": "), contenders[name], cost) for name, cost in found.items()]
    return [Row(model, batch, m, by, c.limit.unit, c.passes, cost.seconds, cost.ratio) for m, by, c, cost in told]


def emit(rows: Iterable[Row]) -> None:
    """Print rows for the process that collects them."""
    for row in rows:
        print(json.dumps(asdict(row)), flush=True)


def parse(text: str) -> list[Row]:
    """The rows among what a process printed."""
    return [Row(**json.loads(line)) for line in text.splitlines() if line.startswith('{"model"')]


def markdown(rows: Iterable[Row]) -> str:
    """The table."""
    lines = [
        "| model | batch | method | by | passes | ms | cost / limit |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for r in rows:
        limit = f"{r.passes} {r.unit}" if r.passes > 1 else f"1 {r.unit}"
        ratio = f"**{r.ratio:.2f}**" if r.by.startswith("sightline") else f"{r.ratio:.2f}"
        lines.append(f"| {r.model} | {r.batch} | {r.method} | {r.by} | {limit} | {r.seconds * 1e3:.1f} | {ratio} |")
    return "\n".join(lines)
