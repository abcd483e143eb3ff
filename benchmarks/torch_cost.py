"""PyTorch: what each method costs in bare passes, beside the peers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import torch

import sightline as sl
from benchmarks import families, peers_torch
from benchmarks.clock import Contender, Part, Timed, by_the_clock
from benchmarks.families import Family
from benchmarks.models import Subject
from benchmarks.ours import contenders
from benchmarks.table import OURS, Row, emit, rows

LAYERS = {"resnet50": "layer4", "mobilenet_v2": "features", "vgg16": "features", "vit_b_16": "encoder.layers"}
ABLATED = 128  # of the 2,048 channels of ResNet-50, for pytorch-grad-cam: all would take a minute or more
SHARED = "gradient input-x-gradient guided-backprop deconvnet grad-cam hires-cam layer-cam xgrad-cam grad-cam-plus-plus"


def one_pass(subject: Subject, which: Iterable[Family], peers: bool, seconds: float, **clock: Any) -> list[Row]:
    """Methods of one pass; the method alone where the peers are, which it is to be held against."""
    beside = peers_torch.of_one_pass(subject) if peers else {}
    runs = contenders(subject.loaded, subject.given, which, subject.limit, beside, peers)
    if peers:
        limit = subject.limit(families.GRADIENT)
        runs["the limit: itself"] = Contender(limit[0].run, limit)
    return _rows(subject, runs, seconds, **clock)


def many_passes(subject: Subject, n: int, window: int, windows: int, seconds: float, **clock: Any) -> list[Row]:
    """Methods of many passes, with every peer; `windows` of the side `window` cover the image by half their side."""
    which = [
        families.integrated_gradients(n),
        families.smoothgrad(n),
        families.rise(n),
        families.occlusion(window, windows),
    ]
    beside = peers_torch.of_many_passes(subject, n, window, windows)
    runs = contenders(subject.loaded, subject.given, which, subject.limit, beside, False)
    return _rows(subject, runs, seconds, **clock)


def score_cam(subject: Subject, layer: str, channels: int, seconds: float, **clock: Any) -> list[Row]:
    """Score-CAM at a layer with few channels, so that it is short."""
    which, beside = [families.score_cam(layer, channels)], peers_torch.score_cam(subject, layer)
    runs = contenders(subject.loaded, subject.given, which, subject.limit, beside, False)
    return _rows(subject, runs, seconds, **clock)


def path(subject: Subject, n: int, seconds: float, **clock: Any) -> list[Row]:
    """Integrated gradients by a few points, without peers: for the heavy models."""
    which = [families.integrated_gradients(n)]
    return _rows(subject, contenders(subject.loaded, subject.given, which, subject.limit, {}, False), seconds, **clock)


def ablation(subject: Subject, seconds: float, **clock: Any) -> list[Row]:
    """Ablation-CAM of ResNet-50: a pass, and a tail (average, linear) for each channel.

    pytorch-grad-cam does some of the channels; its time is that many times longer for all of them.
    """
    net, maps = subject.bare, torch.rand(64, 2048, 7, 7, device=subject.device)

    def tails() -> torch.Tensor:
        with torch.inference_mode():
            return net.fc(torch.flatten(net.avgpool(maps), 1))

    limit = (Part("F", 1, subject.forward(subject.x)), Part("tails", 2048, tails, len(maps)))
    peer = f"{peers_torch.PGC}, {ABLATED} of 2,048 channels, scaled"
    runs = {
        f"ablation-cam: {OURS}": Contender(
            lambda: sl.explain(subject.loaded, subject.given, method="ablation-cam"), limit
        ),
    }
    if subject.precision == "float32":
        theirs = peers_torch.ablation(subject, ABLATED)
        runs[f"ablation-cam: {peer}"] = Contender(theirs, limit, warm=limit[0].run, share=ABLATED / 2048)
    return _rows(subject, runs, seconds, **clock)


def sharing(subject: Subject, seconds: float, **clock: Any) -> list[Row]:
    """Ten methods of five classes in one call: three kinds of pass back to the image, and one that ends at a layer."""
    labels = torch.topk(subject.bare(subject.x)[0], 5).indices.tolist()
    names = [*SHARED.split(), "eigen-cam"]
    limit = (
        Part("(F + 5 B)", 3, subject.backward(subject.x, targets=5)),
        Part("F", 1, subject.forward(subject.x)),
    )
    run = lambda: sl.explain(subject.loaded, subject.given, method=names, target=labels)  # noqa: E731
    return _rows(subject, {f"ten methods x five classes: {OURS}": Contender(run, limit)}, seconds, **clock)


def _rows(subject: Subject, runs: dict[str, Contender], seconds: float, **clock: Any) -> list[Row]:
    return rows(f"torch {subject.name}", subject.batch, runs, seconds=seconds, **clock)


def groups(device: str, precision: str) -> Iterator[tuple[Callable[..., list[Row]], Subject, dict[str, Any]]]:
    """What is measured on which model, the most telling first; with the seconds that it may take, warm-up aside."""
    make = partial(Subject, device=device, precision=precision)
    resnet, mobile, vgg, vit = (make(name, layer, 1) for name, layer in LAYERS.items())
    resnet8, mobile8, vgg8, vit8 = (make(name, layer, 8) for name, layer in LAYERS.items())
    all_of, heavy, heavy_vit = ({"which": f} for f in (families.ONE_PASS, families.HEAVY, families.HEAVY_TRANSFORMER))
    yield one_pass, resnet, {**all_of, "peers": True, "seconds": 16}
    yield one_pass, mobile, {**all_of, "peers": True, "seconds": 12}
    yield many_passes, resnet, {"n": 16, "window": 112, "windows": 9, "seconds": 28}
    yield many_passes, mobile, {"n": 48, "window": 56, "windows": 49, "seconds": 26}
    yield ablation, resnet, {"seconds": 10}
    yield score_cam, mobile, {"layer": "features.6", "channels": 32, "seconds": 6}
    yield sharing, resnet, {"seconds": 8}
    yield one_pass, vgg, {**all_of, "peers": False, "seconds": 16}
    yield one_pass, vit, {"which": families.ON_A_TRANSFORMER, "peers": False, "seconds": 12}
    yield one_pass, mobile8, {**all_of, "peers": True, "seconds": 10}
    yield one_pass, resnet8, {"which": families.WITHOUT_LRP, "peers": False, "seconds": 14}
    yield path, vit, {"n": 8, "seconds": 1, "least": 1}
    yield path, vgg, {"n": 8, "seconds": 1, "least": 1}
    yield one_pass, vit8, {**heavy_vit, "peers": False, "seconds": 20, "least": 1}
    yield one_pass, vgg8, {**heavy, "peers": False, "seconds": 20, "least": 1}


def measure(
    device: str, only: Iterable[str] = (), precision: str = "float32", timed: Timed = by_the_clock
) -> Iterator[Row]:
    """The rows, group by group; of those whose "name model batch" holds one of the words `only`, if there are any."""
    wanted = list(only)
    for group, subject, options in groups(device, precision):
        called = f"{group.__name__} {subject.name} {subject.batch}"
        if not wanted or any(word in called for word in wanted):
            yield from group(subject, timed=timed, **options)


if __name__ == "__main__":
    emit(measure("cpu", sys.argv[1:]))
