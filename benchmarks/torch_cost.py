"""PyTorch: what each method costs in bare passes, beside the peers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch

import sightline as sl
from benchmarks import families, peers_torch
from benchmarks.clock import Contender, Part, at_once
from benchmarks.families import Family
from benchmarks.models import Subject
from benchmarks.ours import contenders
from benchmarks.table import OURS, Row, emit, rows

LAYERS = {"resnet50": "layer4", "mobilenet_v2": "features", "vgg16": "features", "vit_b_16": "encoder.layers"}
WINDOW, WINDOWS = 56, 49  # of occlusion: 7 x 7 by half a window on 224 x 224
SCORED = {"resnet50": ("maxpool", 64), "mobilenet_v2": ("features.6", 32)}  # few channels, so that Score-CAM is short
ABLATED = 128  # of the 2,048 channels of ResNet-50, for pytorch-grad-cam: all would take minutes
SHARED = "gradient input-x-gradient guided-backprop deconvnet grad-cam hires-cam layer-cam xgrad-cam grad-cam-plus-plus"


def one_pass(subject: Subject, which: Iterable[Family], peers: bool, seconds: float, **clock: Any) -> list[Row]:
    """Methods of one pass; the method alone where the peers are, which it is to be held against."""
    beside = peers_torch.of_one_pass(subject) if peers else {}
    runs = contenders(subject.loaded, subject.x, which, subject.limit, beside, peers)
    if peers:
        limit = subject.limit(families.GRADIENT)
        runs["the limit: itself"] = Contender(limit[0].run, limit)
    return _rows(subject, runs, seconds, **clock)


def many_passes(subject: Subject, n: int, seconds: float, **clock: Any) -> list[Row]:
    """Methods of many passes, with every peer."""
    layer, channels = SCORED[subject.name]
    which = [
        families.integrated_gradients(n),
        families.smoothgrad(n),
        families.score_cam(layer, channels),
        families.rise(n),
        families.occlusion(WINDOW, WINDOWS),
    ]
    beside = peers_torch.of_many_passes(subject, n, WINDOWS, WINDOW, layer)
    runs = contenders(subject.loaded, subject.x, which, subject.limit, beside, False)
    return _rows(subject, runs, seconds, **clock)


def paths(subject: Subject, n: int, seconds: float, **clock: Any) -> list[Row]:
    """Integrated gradients and RISE by a few passes, without peers: for the heavy models."""
    which = [families.integrated_gradients(n), families.rise(n)]
    return _rows(subject, contenders(subject.loaded, subject.x, which, subject.limit, {}, False), seconds, **clock)


def ablation(subject: Subject, seconds: float, **clock: Any) -> list[Row]:
    """Ablation-CAM of ResNet-50: a pass, and a tail (average, linear) for each channel."""
    net, maps = subject.bare, torch.rand(64, 2048, 7, 7, device=subject.device)

    def tails() -> torch.Tensor:
        with torch.inference_mode():
            return net.fc(torch.flatten(net.avgpool(maps), 1))

    limit = (Part("F", 1, subject.forward(subject.x)), Part("tails", 2048, tails, len(maps)))
    run = lambda: sl.explain(subject.loaded, subject.x, method="ablation-cam")  # noqa: E731
    return _rows(subject, {f"ablation-cam: {OURS}": Contender(run, limit)}, seconds, **clock)


def ablation_by_peer(subject: Subject, seconds: float, **clock: Any) -> list[Row]:
    """pytorch-grad-cam's, on some of the channels, once: its time is that many times longer for all of them."""
    limit, run = subject.limit(families.GRAD_CAM), peers_torch.ablation(subject, ABLATED)
    name = f"ablation-cam: {peers_torch.PGC}, {ABLATED} of 2,048 channels, scaled"
    runs = {name: Contender(run, limit, warm=limit[0].run, share=ABLATED / 2048)}
    return _rows(subject, runs, seconds, **clock | {"least": 1})


def sharing(subject: Subject, seconds: float, **clock: Any) -> list[Row]:
    """Ten methods of five classes in one call: three kinds of pass back to the image, and one that ends at a layer."""
    labels = torch.topk(subject.bare(subject.x)[0], 5).indices.tolist()
    names = [*SHARED.split(), "eigen-cam"]
    limit = (
        Part("(F + 5 B)", 3, subject.backward(subject.x, targets=5)),
        Part("F", 1, subject.forward(subject.x)),
    )
    run = lambda: sl.explain(subject.loaded, subject.x, method=names, target=labels)  # noqa: E731
    return _rows(subject, {f"ten methods x five classes: {OURS}": Contender(run, limit)}, seconds, **clock)


def _rows(subject: Subject, runs: dict[str, Contender], seconds: float, **clock: Any) -> list[Row]:
    return rows(f"torch {subject.name}", subject.batch, runs, seconds=seconds, **clock)


def groups(device: str) -> Iterator[tuple[Callable[..., list[Row]], Subject, dict[str, Any]]]:
    """What is measured on which model, the most telling first; with the seconds that it may take, warm-up aside."""
    resnet, mobile, vgg, vit = (Subject(name, layer, 1, device) for name, layer in LAYERS.items())
    resnet8, mobile8, vgg8, vit8 = (Subject(name, layer, 8, device) for name, layer in LAYERS.items())
    all_of, heavy = {"which": families.ONE_PASS}, {"which": families.HEAVY}
    yield one_pass, resnet, {**all_of, "peers": True, "seconds": 22}
    yield one_pass, mobile, {**all_of, "peers": True, "seconds": 12}
    yield ablation, resnet, {"seconds": 6}
    yield ablation_by_peer, resnet, {"seconds": 1}
    yield many_passes, mobile, {"n": 48, "seconds": 24}
    yield many_passes, resnet, {"n": 24, "seconds": 60}
    yield sharing, resnet, {"seconds": 8}
    yield one_pass, vgg, {**all_of, "peers": False, "seconds": 20}
    yield one_pass, vit, {"which": families.ON_A_TRANSFORMER, "peers": False, "seconds": 15}
    yield one_pass, mobile8, {**all_of, "peers": True, "seconds": 10}
    yield one_pass, resnet8, {**all_of, "peers": False, "seconds": 20}
    yield paths, vit, {"n": 8, "seconds": 10}
    yield paths, vgg, {"n": 8, "seconds": 10}
    yield one_pass, vit8, {**heavy, "peers": False, "seconds": 20}
    yield one_pass, vgg8, {**heavy, "peers": False, "seconds": 20}


def measure(device: str, only: Iterable[str] = (), synchronise: Callable[[Any], object] = at_once) -> Iterator[Row]:
    """The rows, group by group; of those whose "name model batch" holds one of the words `only`, if there are any."""
    wanted = list(only)
    for group, subject, options in groups(device):
        called = f"{group.__name__} {subject.name} {subject.batch}"
        if not wanted or any(word in called for word in wanted):
            yield from group(subject, synchronise=synchronise, **options)


if __name__ == "__main__":
    emit(measure("cpu", sys.argv[1:]))
