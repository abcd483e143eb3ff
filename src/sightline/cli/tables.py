"""Tables and lines of JSON on standard output."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

_UNCUT = 10_000  # columns: a terminal wraps what is too long without breaking the path that one copies


def print_line(text: str) -> None:
    """One line of text, as it is."""
    print(text, flush=True)


def print_json(value: Any) -> None:
    """One line of JSON; a number that is not finite is null."""
    print(json.dumps(_finite(value), allow_nan=False), flush=True)


def print_table(columns: Sequence[str], rows: Iterable[Iterable[Any]], *, fold: bool = False) -> None:
    """Rows under their columns' names, nothing cut off; `fold`: long cells but the first go on below in a terminal."""
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for i, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=i == 0)
    for row in rows:
        table.add_row(*(Text("" if cell is None else str(cell)) for cell in row))
    width = None if fold and sys.stdout.isatty() else _UNCUT
    Console(width=width).print(Padding(table, (0, 0, 0, 2), expand=False))
    sys.stdout.flush()


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
