"""Rows of the table: written as JSON lines by each framework's process, read by the one that draws it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.clock import Contender, Limit, costs

OURS = "sightline"


@dataclass(frozen=True)
class Row:
    """One contender's time, and its ratio to the passes that the method's definition needs."""

    model: str
    batch: int
    method: str
    by: str
    limit: str  # "1 F", "48 FB + 2 F"
    seconds: float
    ratio: float  # of the cost to that of the limit


def rows(model: str, batch: int, contenders: Mapping[str, Contender], **clock: Any) -> list[Row]:
    """Measure contenders, whose names are "method: by whom"; `clock` goes to the clock."""
    found = costs(contenders, **clock)
    told = [(*name.split(": "), contenders[name], cost) for name, cost in found.items()]
    return [Row(model, batch, m, by, _called(c.limit), cost.seconds, cost.ratio) for m, by, c, cost in told]


def _called(limit: Limit) -> str:
    return " + ".join(f"{part.passes:,} {part.unit}" for part in limit)


def emit(rows: Iterable[Row]) -> None:
    """Print rows for the process that collects them."""
    for row in rows:
        print(json.dumps(asdict(row)), flush=True)


def parse(text: str) -> list[Row]:
    """The rows among what a process printed."""
    return [Row(**json.loads(line)) for line in text.splitlines() if line.startswith('{"model"')]


def markdown(rows: Sequence[Row]) -> str:
    """The table."""
    lines = [
        "| model | batch | method | by | limit | ms | cost / limit | cost / sightline |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    whole = {(r.model, r.batch, r.method): r.ratio for r in rows if r.by == OURS}
    for r in rows:
        ratio, ours = f"{r.ratio:.2f}", whole.get((r.model, r.batch, r.method))
        ratio = f"**{ratio}**" if r.by.startswith(OURS) else ratio
        beside = f"{r.ratio / ours:.2f}" if ours and not r.by.startswith(OURS) else ""
        lines.append(
            f"| {r.model} | {r.batch} | {r.method} | {r.by} | {r.limit} | {r.seconds * 1e3:,.1f} | {ratio} | {beside} |"
        )
    return "\n".join(lines)
