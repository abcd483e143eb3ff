"""Masks of real photographs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import sightline as sl
from sightline.arrays import resize
from sightline.baselines import baseline_for
from sightline.inputs import take

FRAMEWORKS = ("torch",)


@pytest.mark.assets
@pytest.mark.parametrize("name", ["cat.png", "hot_dog.jpg"])
def test_an_extremal_mask_keeps_more_than_the_highest_cells_of_grad_cam(assets: Path, name: str) -> None:
    weights, file = str(assets / "mobilenet_v2_torchvision.safetensors"), assets / "images" / name
    net = sl.load("torchvision:mobilenet_v2", weights=weights, preprocess="resize=224,crop=224,mean=0.5,std=0.5")
    e = sl.explain(net, file, method="extremal-perturbation", steps=30, rate=0.1)
    cam = sl.explain(net, file)
    assert isinstance(e, sl.Explanation)
    assert isinstance(cam, sl.Explanation)
    area, kept = (float(np.ravel(e.checks[key])[0]) for key in ("area", "kept"))
    assert area < 0.2
    x = take(file, net.model, net.preprocessing).x
    baseline = baseline_for("blurred", x, net.model.channel, net.preprocessing, 0)
    cells = resize(np.asarray(cam.map[0], float), (32, 32))
    mask = net.model.array(resize((cells >= np.quantile(cells, 1 - area)).astype(np.float32), (224, 224)))
    images = (x, baseline, mask * x + (1 - mask) * baseline)
    whole, none, some = (float(net.model.run(a).outputs[0, e.target[0]["index"]]) for a in images)
    assert kept > 0.3
    assert kept > (some - none) / (whole - none)
