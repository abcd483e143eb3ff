"""The rows of the perturbation methods."""

from __future__ import annotations

import numpy as np

import paper
import paper_masks
from rows import BASELINE, IMAGES, NET, Row

B = {"baseline": BASELINE}

ROWS: list[Row] = [
    (
        "occlusion",
        B | {"window": (5, 3), "stride": (4, 2)},
        lambda m, i, c: paper_masks.occlusion(NET, IMAGES[i], c, BASELINE[i], (5, 3), (4, 2)),
    ),
    (
        "superpixel-ablation",
        B | {"segments": 12},
        lambda m, i, c: paper_masks.superpixel_ablation(NET, IMAGES[i], c, BASELINE[i], 12),
    ),
    (
        "superpixel-ablation",
        B | {"segments": 9, "segmentation": "felzenszwalb"},
        lambda m, i, c: paper_masks.superpixel_ablation(NET, IMAGES[i], c, BASELINE[i], 9, "felzenszwalb"),
    ),
    (
        "rise",
        B | {"cells": 5, "keep": 0.3, "samples": 9, "random_state": 5},
        lambda m, i, c: paper_masks.rise(NET, IMAGES[i], c, BASELINE[i], 5, 0.3, 9, 5),
    ),
    (
        "lime",
        B | {"segments": 12, "samples": 30, "random_state": 5},
        lambda m, i, c: paper_masks.lime(NET, IMAGES[i], c, BASELINE[i], 12, 30, 5),
    ),
    (
        "kernel-shap",
        B | {"segments": 6, "samples": 14},
        lambda m, i, c: paper_masks.shapley(NET, IMAGES[i], c, BASELINE[i], 6),
    ),
    (
        "kernel-shap",
        B | {"segments": 12, "samples": 40, "random_state": 5},
        lambda m, i, c: paper_masks.kernel_shap(NET, IMAGES[i], c, BASELINE[i], 12, 40, 5),
    ),
    (
        "shapley-sampling",
        B | {"segments": 12, "samples": 4, "random_state": 5},
        lambda m, i, c: paper_masks.shapley_sampling(NET, IMAGES[i], c, BASELINE[i], 12, 4, 5),
    ),
    (
        "sobol",
        B | {"cells": 3, "samples": 8, "random_state": 5},
        lambda m, i, c: paper_masks.sobol(NET, IMAGES[i], c, BASELINE[i], 3, 8, 5),
    ),
    (
        "hsic",
        B | {"cells": 5, "samples": 20, "random_state": 5},
        lambda m, i, c: paper_masks.hsic(NET, IMAGES[i], c, BASELINE[i], 5, 20, 5),
    ),
    *(
        (
            "meaningful-perturbation",
            B | {"cells": 5, "steps": steps},
            lambda m, i, c, steps=steps: paper_masks.meaningful_perturbation(NET, IMAGES[i], c, BASELINE[i], 5, steps),
        )
        for steps in (1, 4)
    ),
    *(
        (
            "extremal-perturbation",
            B | {"cells": 6, "steps": steps, "area": 0.3},
            lambda m, i, c, steps=steps: paper_masks.extremal_perturbation(
                NET, IMAGES[i], c, BASELINE[i], 0.3, 6, steps
            ),
        )
        for steps in (1, 3)
    ),
    (
        "xrai",
        B | {"steps": 6},
        lambda m, i, c: paper_masks.xrai(
            paper.integrated_gradients(NET, IMAGES[i], c, BASELINE[i], 6).sum(axis=2), IMAGES[i]
        ),
    ),
    (
        "xrai",
        {"of": "gradient"},
        lambda m, i, c: paper_masks.xrai(np.abs(paper.gradient(NET, IMAGES[i], c)).max(axis=2), IMAGES[i]),
    ),
]
