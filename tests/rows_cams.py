"""The rows of the class activation maps."""

from __future__ import annotations

from typing import Any

import numpy as np

import paper
import paper_cams as cams
from nets import native
from rows import IMAGES, NET, Row, draws
from sightline.arrays import normal, to_numpy


def plane(model: Any, k: int) -> np.ndarray:
    """Draw `k` of noise (h, w, 1) for a mask over the image."""
    x = native(IMAGES[..., :1], model)
    return np.moveaxis(to_numpy(normal(x, 5, k)), model.channel, -1)


def at(name: str, layer: str) -> Row:
    """A map without options, at a layer."""
    twin = getattr(cams, name)
    return name.replace("_", "-"), {"layer": layer}, lambda m, i, c: twin(NET, IMAGES[i], c, layer)


ANYWHERE = (
    *(
        "hires_cam",
        "elementwise_grad_cam",
        "layer_cam",
        "xgrad_cam",
        "grad_cam_plus_plus",
        "eigen_cam",
        "eigen_grad_cam",
    ),
    *("kpca_cam", "ablation_cam", "recipro_cam", "score_cam", "shapley_cam"),
)
ROWS: list[Row] = [
    at("cam", "relu2"),
    *(at(name, "relu2") for name in ANYWHERE),
    *(at(name, "pool1") for name in ANYWHERE),
    *(at(name, "conv1") for name in ("hires_cam", "elementwise_grad_cam", "layer_cam", "eigen_cam", "ablation_cam")),
    ("fem", {"layer": "relu2", "sigmas": 1.5}, lambda m, i, c: cams.fem(NET, IMAGES[i], c, "relu2", 1.5)),
    (
        "smooth-grad-cam-plus-plus",
        {"layer": "pool1", "samples": 5, "noise": 0.2, "random_state": 5},
        lambda m, i, c: cams.smooth_grad_cam_plus_plus(NET, IMAGES[i], c, "pool1", draws(m, 5), 0.2),
    ),
    (
        "ss-cam",
        {"layer": "relu2", "samples": 3, "noise": 0.5, "random_state": 5},
        lambda m, i, c: cams.ss_cam(NET, IMAGES[i], c, "relu2", 3, 0.5, lambda k: plane(m, k)),
    ),
    ("is-cam", {"layer": "relu2", "steps": 4}, lambda m, i, c: cams.is_cam(NET, IMAGES[i], c, "relu2", 4)),
    (
        "finer-cam",
        {"layer": "relu2", "references": 2, "gamma": 0.7},
        lambda m, i, c: cams.finer_cam(NET, IMAGES[i], c, "relu2", 0.7, 2),
    ),
    (
        "layer-fusion",
        {"layers": "relu1,pool1,relu2"},
        lambda m, i, c: cams.layer_fusion(NET, IMAGES[i], c, ["relu1", "pool1", "relu2"]),
    ),
    ("layer-fusion", {}, lambda m, i, c: cams.layer_fusion(NET, IMAGES[i], c, ["relu1", "relu2"])),
    (
        "refine-cam",
        {"layers": ["pool1", "relu1"]},
        lambda m, i, c: cams.refine_cam(NET, IMAGES[i], c, ["relu1", "pool1"]),
    ),
    (
        "augmented",
        {"layer": "relu2"},
        lambda m, i, c: cams.augmented(IMAGES[i], lambda x: paper.grad_cam(NET, x, c, "relu2")),
    ),
    (
        "augmented",
        {"of": "gradient"},
        lambda m, i, c: cams.augmented(IMAGES[i], lambda x: paper.gradient(NET, x, c)),
    ),
]
