"""The rows of the nine first methods."""

from __future__ import annotations

import paper
from rows import BASELINE, IMAGES, NET, Row, draws

ROWS: list[Row] = [
    ("gradient", {}, lambda m, i, c: paper.gradient(NET, IMAGES[i], c)),
    ("input-x-gradient", {}, lambda m, i, c: paper.input_x_gradient(NET, IMAGES[i], c)),
    ("guided-backprop", {}, lambda m, i, c: paper.guided_backprop(NET, IMAGES[i], c)),
    ("deconvnet", {}, lambda m, i, c: paper.deconvnet(NET, IMAGES[i], c)),
    ("grad-cam", {"layer": "relu2"}, lambda m, i, c: paper.grad_cam(NET, IMAGES[i], c, "relu2")),
    ("grad-cam", {"layer": "conv1"}, lambda m, i, c: paper.grad_cam(NET, IMAGES[i], c, "conv1")),
    ("guided-grad-cam", {"layer": "relu2"}, lambda m, i, c: paper.guided_grad_cam(NET, IMAGES[i], c, "relu2")),
    (
        "integrated-gradients",
        {"baseline": BASELINE, "steps": 10},
        lambda m, i, c: paper.integrated_gradients(NET, IMAGES[i], c, BASELINE[i], 10),
    ),
    (
        "occlusion",
        {"baseline": BASELINE, "window": 5, "stride": 3},
        lambda m, i, c: paper.occlusion(NET, IMAGES[i], c, BASELINE[i], 5, 3),
    ),
    *(
        (
            "smoothgrad",
            {"samples": 7, "noise": 0.2, "form": form, "random_state": 5},
            lambda m, i, c, form=form: paper.smoothgrad(NET, IMAGES[i], c, draws(m, 7), 0.2, form),
        )
        for form in ("mean", "squared", "variance")
    ),
]
