"""What each metric of faithfulness costs beside the bare passes that its definition needs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
import torchvision

import sightline as sl
from benchmarks.clock import Contender, Part
from benchmarks.table import OURS, Row, emit, rows
from sightline.metric import METRICS, find_metric
from sightline.model import Target
from sightline.params import settle
from sightline.preprocessing import Preprocessing
from sightline.scores import Probability

FEW = {"steps": 15, "samples": 16, "segments": 15}
NOT_HERE = ("adcc",)  # asks for the method's own passes again


class _Counted:
    """The model, counting the images of each pass that it is asked."""

    def __init__(self, model: Any) -> None:
        self.model, self.passes = model, Counter[int]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def run(self, x: Any, **options: Any) -> Any:
        self.passes[x.shape[0]] += 1
        return self.model.run(x, **options)


def metric_rows(seconds: float = 0.0) -> list[Row]:
    """A row for each, on MobileNetV2 and one image of 224 x 224 with random weights and a smooth map; under a minute."""
    torch.manual_seed(0)
    net = torchvision.models.mobilenet_v2(weights=None).eval().requires_grad_(False)
    model = sl.load(net).model
    x = model.array(torch.randn(1, 3, 224, 224))
    found = {f"{name}: {OURS}": _contender(name, model, x, partial(_bare, net, x)) for name in _names()}
    return rows("torch mobilenet_v2", 1, found, seconds=seconds)


def _bare(net: torch.nn.Module, x: torch.Tensor, images: int) -> Part:
    """A bare pass of so many images."""
    pack = x.repeat(images, 1, 1, 1).contiguous(memory_format=torch.channels_last)

    def forward() -> None:
        with torch.inference_mode():
            net(pack)

    return Part("F", images, forward, images)


def _names() -> list[str]:
    return sorted(m.name for m in METRICS.values() if m.family == "faithfulness" and m.name not in NOT_HERE)


def _contender(name: str, model: Any, x: Any, bare: Callable[[int], Part]) -> Contender:
    metric, counted = find_metric(name), _Counted(model)
    few = {key: value for key, value in FEW.items() if key in metric.params}
    params = settle(name, "metrics", metric.params, metric.hints, few)
    params |= {"fill": torch.zeros_like(x)} if "fill" in params else {}
    given = _given(counted, x)
    metric.values(given, params)
    limit = tuple(replace(bare(images), passes=images * count) for images, count in counted.passes.items())
    return Contender(lambda: metric.values(given, params), limit)


def _given(model: Any, x: Any) -> dict[str, Any]:
    at = np.linspace(-2, 2, x.shape[-1])
    maps = np.exp(-(at[:, None] ** 2) - at**2)[None]
    target = Target(lambda outputs: outputs[:, 3][None])
    pre = Preprocessing(mean=(0.5,), std=(0.5,))
    return {
        "maps": maps,
        "attribution": maps[..., None],
        "model": model,
        "x": x,
        "target": target,
        "probability": target.then(Probability("softmax")),
        "pixels": lambda images: pre.undo(np.moveaxis(images.numpy(), 1, -1)),
    }


if __name__ == "__main__":
    emit(metric_rows())
