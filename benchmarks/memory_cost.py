"""How much memory a map takes: one measurement, named on the command line."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch
import torchvision

import sightline as sl
from benchmarks.memory import MB, MEASURED, MemoryRow
from sightline.stream import PROGRESS


class Enough(BaseException):
    """A stream has shown what one of its passes holds: all the others hold the same."""


def _grad_cam() -> MemoryRow:
    """What autograd keeps for the backward pass, of which a bare pass in inference mode keeps nothing."""
    net, kept = _net(), dict[int, int]()
    own = {t.untyped_storage().data_ptr() for t in (*net.parameters(), *net.buffers())}

    def keep(t: torch.Tensor) -> torch.Tensor:
        storage = t.untyped_storage()
        if storage.data_ptr() not in own:  # the weights are there anyway
            kept[storage.data_ptr()] = storage.nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        sl.explain(net, torch.randn(1, 3, 224, 224), method="grad-cam")
    return MemoryRow("grad-cam, ResNet-50, 224 x 224: kept for the backward pass", 20 * MB, sum(kept.values()))


def _score_cam() -> MemoryRow:
    _until(48, lambda: sl.explain(_net(), torch.randn(1, 3, 224, 224), method="score-cam"))
    return MemoryRow("score-cam, ResNet-50, 2,048 channels, 224 x 224: the process in all", 1500 * MB, _peak())


def _integrated_gradients() -> MemoryRow:
    net, x = _net(), torch.randn(1, 3, 512, 512)
    start = _peak()
    _until(12, lambda: sl.explain(net, x, method="integrated-gradients", steps=300, memory="2GB"))
    what = 'integrated-gradients, ResNet-50, 300 steps, 512 x 512, memory="2GB": beyond the process before'
    return MemoryRow(what, 2000 * MB, _peak() - start)


def _tails() -> MemoryRow:
    net, x = _net(), torch.randn(1, 3, 512, 512)
    start = _peak()
    few = {"method": "ablation-cam", "layer": "layer2", "memory": "1GB"}
    _until(32, lambda: sl.explain(net, x, **few))
    what = 'ablation-cam, ResNet-50, 512 channels of layer2, 512 x 512, memory="1GB": beyond the process before'
    return MemoryRow(what, 1000 * MB, _peak() - start)


def _net() -> torch.nn.Module:
    return torchvision.models.get_model("resnet50", weights=None).eval()


def _until(items: int, run: Callable[[], object]) -> None:
    """Run until so many items of a stream are done, which is long enough for the peak and short enough for a bench."""

    def tell(done: int, total: int | None) -> None:
        if done >= items:
            raise Enough

    mark = PROGRESS.set(tell)
    try:
        run()
    except Enough:
        return
    finally:
        PROGRESS.reset(mark)


def _peak() -> int:
    """Bytes of the most that this process has held."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


if __name__ == "__main__":
    runs: tuple[Callable[[], MemoryRow], ...] = (_grad_cam, _score_cam, _integrated_gradients, _tails)
    print(json.dumps(asdict(dict(zip(MEASURED, runs, strict=True))[sys.argv[1]]())))
