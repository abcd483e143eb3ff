"""Run every benchmark, each framework in a process of its own, and write RESULTS.md."""

from __future__ import annotations

import datetime
import platform
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from os import cpu_count
from pathlib import Path

from benchmarks.memory import memory_page
from benchmarks.table import Row, markdown, parse

PAGE = Path(__file__).with_name("RESULTS.md")
PACKAGES = ["torch", "torchvision", "keras", "tensorflow", "numpy", "captum", "grad-cam", "torchcam", "tf-keras-vis"]


def main() -> None:
    """Measure and write, row by row: a run that is stopped leaves what it has measured."""
    rows: list[Row] = []
    for module in ("benchmarks.torch_cost", "benchmarks.keras_cost"):
        print(f"running {module}", file=sys.stderr)
        with subprocess.Popen([sys.executable, "-m", module], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                rows += parse(line)
                _write(rows)
        if process.returncode:
            sys.exit(f"{module} failed")
    PAGE.write_text(PAGE.read_text(encoding="utf-8") + memory_page(), encoding="utf-8")
    print(f"written to {PAGE}")


def _write(rows: Sequence[Row]) -> None:
    part = PAGE.with_suffix(".part")
    part.write_text(_page(markdown(rows)), encoding="utf-8")
    part.replace(PAGE)


def _page(table: str) -> str:
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in PACKAGES)
    return f"""# What a map costs

Measured by `make bench` on {datetime.date.today()}: {_machine()}. {versions}; Python {platform.python_version()}.
No GPU was at hand for this table.

F is a bare forward pass without a graph, FB a bare forward and input-gradient pass, both in the best memory layout (PyTorch)
or compiled (TensorFlow), at the same batch. "cost / limit" is the contender's time over the passes that the method's
definition needs times the bare pass: 1.00 is the limit. Contenders ran in turn in one process, each between two runs of
its limit; the ratio is the median over the rounds of its time to the mean of those two, "ms" the shortest time. The row
"the limit" is a bare pass measured so against itself: how far it lies from 1.00 is what this machine's noise leaves of
the second digit. "sightline" is the whole `explain()`, from the input to the map and the facts on the host; "the method
alone" starts from the model's own arrays and a target, and leaves the attribution on the model's device, as the peers do.
The weights are random; they do not change the work.

{table}
"""


def _machine() -> str:
    info = Path("/proc/cpuinfo")
    names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {cpu_count()} cores, {platform.system()}"


if __name__ == "__main__":
    main()
