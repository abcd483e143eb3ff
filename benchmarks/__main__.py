"""Run every benchmark, each framework in a process of its own, and write RESULTS.md, its picture and the README's table."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks import readme
from benchmarks.memory import memory_page
from benchmarks.page import write
from benchmarks.picture import ROWS, draw
from benchmarks.table import Row, parse

PAGE = Path(__file__).with_name("RESULTS.md")
PROCESSES = (
    (sys.executable, "benchmarks.torch_cost"),
    (sys.executable, "benchmarks.keras_cost", "tensorflow"),
    (sys.executable, "benchmarks.keras_cost", "jax"),
    (sys.executable, "benchmarks.metrics_cost"),
    (".venv/xplique/bin/python", "benchmarks.xplique_cost"),
)


def main() -> None:
    """Measure and write, row by row: a run that is stopped leaves what it has measured."""
    rows: list[Row] = []
    start = time.perf_counter()
    os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count()))
    ROWS.unlink(missing_ok=True)
    for python, *process in PROCESSES:
        print(f"running {' '.join(process)}", file=sys.stderr)
        with subprocess.Popen([python, "-m", *process], stdout=subprocess.PIPE, text=True) as running:
            assert running.stdout is not None
            for line in running.stdout:
                rows += _kept(line)
                write(PAGE, rows, "make bench", "No GPU was at hand for this table.", time.perf_counter() - start)
        if running.returncode:
            sys.exit(f"{' '.join(process)} failed")
    PAGE.write_text(PAGE.read_text(encoding="utf-8") + memory_page(), encoding="utf-8")
    draw(rows)
    readme.update(rows)
    print(f"written to {PAGE}")


def _kept(line: str) -> list[Row]:
    """The row of a line, kept as it is for the picture."""
    found = parse(line)
    if found:
        with ROWS.open("a", encoding="utf-8") as file:
            file.write(line)
    return found


if __name__ == "__main__":
    main()
