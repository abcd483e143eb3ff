"""The rows of the backward rules."""

from __future__ import annotations

import numpy as np

import paper_rules as paper
from paper_rules import alpha_beta, epsilon, flat, gamma, w_square, z_box
from rows import BASELINE, IMAGES, NET, RNG, Row

LOW, HIGH = (sign * (4 + RNG.uniform(size=IMAGES.shape)) for sign in (-1, 1))
OTHERS = tuple(RNG.normal(size=IMAGES.shape) for _ in range(3))
BOX = {"low": LOW, "high": HIGH}

ROWS: list[Row] = [
    ("lrp-epsilon", {"epsilon": 0.1}, lambda m, i, c: paper.plain(NET, IMAGES[i], c, epsilon(0.1), 0.1)),
    ("lrp-gamma", {"gamma": 0.4}, lambda m, i, c: paper.plain(NET, IMAGES[i], c, gamma(0.4))),
    ("lrp-z-plus", {}, lambda m, i, c: paper.plain(NET, IMAGES[i], c, alpha_beta(1, 0))),
    ("lrp-alpha-beta", {}, lambda m, i, c: paper.plain(NET, IMAGES[i], c, alpha_beta(2, 1))),
    ("lrp-flat", {}, lambda m, i, c: paper.plain(NET, IMAGES[i], c, flat, None)),
    ("lrp-w-square", {}, lambda m, i, c: paper.plain(NET, IMAGES[i], c, w_square, None)),
    (
        "lrp-epsilon-plus-flat",
        {"epsilon": 1e-6},
        lambda m, i, c: paper.composed(NET, IMAGES[i], c, alpha_beta(1, 0), epsilon(1e-6), flat, 1e-6),
    ),
    (
        "lrp-epsilon-gamma-box",
        {"epsilon": 1e-6, "gamma": 0.25, **BOX},
        lambda m, i, c: paper.composed(NET, IMAGES[i], c, gamma(0.25), epsilon(1e-6), z_box(LOW[i], HIGH[i]), 1e-6),
    ),
    (
        "lrp-epsilon-alpha2-beta1",
        {"epsilon": 1e-6},
        lambda m, i, c: paper.composed(NET, IMAGES[i], c, alpha_beta(2, 1), epsilon(1e-6), None, 1e-6),
    ),
    (
        "deep-taylor",
        BOX,
        lambda m, i, c: paper.composed(
            NET, IMAGES[i], c, *[alpha_beta(1, 0, biased=False)] * 2, z_box(LOW[i], HIGH[i])
        ),
    ),
    *(
        (
            "deep-lift",
            {"baseline": BASELINE, "form": form},
            lambda m, i, c, form=form: paper.deep_lift(NET, IMAGES[i], c, BASELINE[i], form),
        )
        for form in ("rescale", "reveal-cancel")
    ),
    (
        "deep-shap",
        {"baseline": OTHERS},
        lambda m, i, c: np.mean([paper.deep_lift(NET, IMAGES[i], c, other[i]) for other in OTHERS], axis=0),
    ),
    ("excitation-backprop", {}, lambda m, i, c: paper.excitation(NET, IMAGES[i], c)),
    ("contrastive-excitation-backprop", {}, lambda m, i, c: paper.excitation(NET, IMAGES[i], c, contrast=True)),
    ("attn-lrp", {"epsilon": 0.1}, lambda m, i, c: paper.plain(NET, IMAGES[i], c, epsilon(0.1), 0.1)),
    ("attn-lrp", {"gamma": 0.4}, lambda m, i, c: paper.plain(NET, IMAGES[i], c, gamma(0.4), 1e-6)),
]
