"""The rows of gradients and paths."""

from __future__ import annotations

from typing import Any

import numpy as np

import paper
import paper_paths
from rows import BASELINE, IMAGES, NET, RNG, Row, draws

OTHER = RNG.normal(size=(2, 12, 12, 3))
BACKGROUNDS = (BASELINE, OTHER, np.random.default_rng(8).normal(size=(1, 12, 12, 3)))  # the last for every image
SAMPLES, STATE, NOISE = 5, 5, 0.2


def _noise(model: Any, i: int) -> np.ndarray:
    return NOISE * (IMAGES[i].max() - IMAGES[i].min()) * draws(model, SAMPLES)


def _backgrounds(i: int) -> list[np.ndarray]:
    return [each[i % len(each)] for each in BACKGROUNDS]


ROWS: list[Row] = [
    (
        "blur-integrated-gradients",
        {"steps": 5, "sigma": 3.0},
        lambda m, i, c: paper_paths.blur_integrated_gradients(NET, IMAGES[i], c, 5, 3.0),
    ),
    (
        "blur-integrated-gradients",
        {"steps": 2},
        lambda m, i, c: paper_paths.blur_integrated_gradients(NET, IMAGES[i], c, 2, 12 * 50 / 224),
    ),
    *(
        (
            "guided-integrated-gradients",
            {"baseline": BASELINE, "steps": 6, "fraction": fraction, "distance": distance},
            lambda m, i, c, fraction=fraction, distance=distance: paper_paths.guided_integrated_gradients(
                NET, IMAGES[i], c, BASELINE[i], 6, fraction, distance
            ),
        )
        for fraction, distance in ((0.25, 0.1), (0.1, 1.0))
    ),
    (
        "idgi",
        {"baseline": BASELINE, "steps": 5},
        lambda m, i, c: paper_paths.idgi(NET, paper_paths.straight_path(IMAGES[i], BASELINE[i], 5), c),
    ),
    (
        "idgi",
        {"baseline": (BASELINE, OTHER), "steps": 3},
        lambda m, i, c: np.mean(
            [paper_paths.idgi(NET, paper_paths.straight_path(IMAGES[i], b[i], 3), c) for b in (BASELINE, OTHER)], axis=0
        ),
    ),
    (
        "idgi",
        {"of": "blur-integrated-gradients", "steps": 5, "sigma": 3.0},
        lambda m, i, c: paper_paths.idgi(NET, paper_paths.blur_path(IMAGES[i], 5, 3.0), c),
    ),
    (
        "idgi",
        {"of": "guided-integrated-gradients", "baseline": BASELINE, "steps": 4, "fraction": 0.25, "distance": 0.3},
        lambda m, i, c: paper_paths.idgi(NET, paper_paths.guided_path(NET, IMAGES[i], c, BASELINE[i], 4, 0.25, 0.3), c),
    ),
    (
        "expected-gradients",
        {"backgrounds": BACKGROUNDS, "samples": SAMPLES, "random_state": STATE},
        lambda m, i, c: paper_paths.expected_gradients(NET, IMAGES[i], c, _backgrounds(i), SAMPLES, STATE),
    ),
    (
        "gradient-shap",
        {"backgrounds": BACKGROUNDS, "samples": SAMPLES, "random_state": STATE, "noise": NOISE},
        lambda m, i, c: paper_paths.expected_gradients(
            NET, IMAGES[i], c, _backgrounds(i), SAMPLES, STATE, _noise(m, i)
        ),
    ),
    (
        "integrated-gradients",
        {"baseline": (BASELINE, OTHER), "steps": 4},
        lambda m, i, c: np.mean(
            [paper.integrated_gradients(NET, IMAGES[i], c, b[i], 4) for b in (BASELINE, OTHER)], axis=0
        ),
    ),
    ("full-grad", {}, lambda m, i, c: paper_paths.full_grad(NET, IMAGES[i], c)),
    *(
        ("rect-grad", {"q": q}, lambda m, i, c, q=q: paper_paths.rect_grad(NET, IMAGES[i], c, q))
        for q in (0.0, 60.0, 90.0)
    ),
    *(
        ("beta-smooth", {"beta": beta}, lambda m, i, c, beta=beta: paper_paths.beta_smooth(NET, IMAGES[i], c, beta))
        for beta in (0.5, 8.0)
    ),
]
