"""The rows of the control methods."""

from __future__ import annotations

import paper_control
from rows import IMAGES, Row

ROWS: list[Row] = [
    ("random", {"random_state": 5}, lambda m, i, c: paper_control.random(IMAGES[i].shape[:2], 5)),
    ("gaussian", {"width": 0.2}, lambda m, i, c: paper_control.gaussian(IMAGES[i].shape[:2], 0.2)),
    ("edges", {}, lambda m, i, c: paper_control.edges(IMAGES[i])),
]
