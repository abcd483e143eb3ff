"""The same table of PyTorch on CUDA, in float32 and in bfloat16, and the memory that a map takes: `make bench-gpu`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

import sightline as sl
from benchmarks import peers_torch
from benchmarks.clock import Run
from benchmarks.models import Subject
from benchmarks.page import write
from benchmarks.table import OURS
from benchmarks.torch_cost import LAYERS, measure

PAGE = Path(__file__).with_name("RESULTS_GPU.md")
PRECISIONS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "float32": nullcontext,
    "bfloat16": partial(torch.autocast, "cuda", torch.bfloat16),
}


def main() -> None:
    """Measure on the first GPU, of the groups that the command names; two lines and status 2 where there is none."""
    if not torch.cuda.is_available():
        print("There is no CUDA device that PyTorch can use.", file=sys.stderr)
        print("Run make bench-gpu on a machine with an NVIDIA GPU; make bench needs none.", file=sys.stderr)
        sys.exit(2)
    rows, start = [], time.perf_counter()
    for precision, casting in PRECISIONS.items():
        for row in measure("cuda", sys.argv[1:], precision, partial(_by_events, casting)):
            rows.append(replace(row, model=f"{row.model}, {precision}"))
            write(PAGE, rows, "make bench-gpu", _told(), time.perf_counter() - start)
    write(PAGE, rows, "make bench-gpu", _told(), time.perf_counter() - start, _memory())
    print(f"written to {PAGE}")


def _by_events(casting: Callable[[], AbstractContextManager[Any]], run: Run) -> float:
    """Seconds on the GPU's own clock from an idle GPU to the end of the run, the host's part included."""
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    with casting():
        torch.cuda.synchronize()
        begin.record()
        run()
        end.record()
    end.synchronize()
    return begin.elapsed_time(end) / 1e3


def _told() -> str:
    rounded = sl.load(torch.nn.Conv2d(3, 1, 1).cuda()).model.computed["precision"]
    return f"""On {torch.cuda.get_device_name()}, timed by CUDA events from an idle GPU to the end of
the run; "float32" is PyTorch's own setting of it ({rounded}), "bfloat16" `precision="bfloat16"` and, for the bare passes
and the peers, autocast. One image leaves such a GPU idle between its small kernels: these rows are of the host."""


def _memory() -> str:
    """The most that was allocated on the GPU during a run, beyond what was there before it."""
    subject = Subject("resnet50", LAYERS["resnet50"], 1, "cuda")
    runs: dict[str, Run] = {
        "a bare forward pass": subject.forward(subject.x),
        f"grad-cam: {OURS}": lambda: sl.explain(subject.loaded, subject.given, method="grad-cam"),
        **{f"grad-cam: {by}": run for by, run in peers_torch.of_one_pass(subject)["grad-cam"].items()},
    }
    lines = ["| ResNet-50, one image | MB |", "| --- | --- |"]
    table = "\n".join([*lines, *(f"| {name} | {_peak(run) / 1e6:,.1f} |" for name, run in runs.items())])
    return f"\n## What a map holds\n\nThe most allocated on the GPU during the run, beyond the weights.\n\n{table}\n"


def _peak(run: Run) -> int:
    run()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    run()
    return torch.cuda.max_memory_allocated() - before


if __name__ == "__main__":
    main()
