"""The same table of PyTorch on CUDA, in float32 and with bfloat16 autocast: `make bench-gpu`."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.page import write
from benchmarks.torch_cost import measure

PAGE = Path(__file__).with_name("RESULTS_GPU.md")


def main() -> None:
    """Measure on the first GPU; two lines and status 2 where there is none."""
    if not torch.cuda.is_available():
        print("There is no CUDA device that PyTorch can use.", file=sys.stderr)
        print("Run make bench-gpu on a machine with an NVIDIA GPU; make bench needs none.", file=sys.stderr)
        sys.exit(2)
    rows, start = [], time.perf_counter()
    for precision in (torch.float32, torch.bfloat16):
        with torch.autocast("cuda", torch.bfloat16, enabled=precision == torch.bfloat16):
            for row in measure("cuda", synchronise=_synchronise):
                rows.append(replace(row, model=f"{row.model}, {str(precision).removeprefix('torch.')}"))
                write(PAGE, rows, "make bench-gpu", torch.cuda.get_device_name(), time.perf_counter() - start)
    print(f"written to {PAGE}")


def _synchronise(result: Any) -> None:
    torch.cuda.synchronize()


if __name__ == "__main__":
    main()
