"""One method of each family, and the passes that its definition needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Family:
    """A method with its options, and its limit in passes."""

    method: str
    unit: str  # of its passes: "F" or "FB"
    passes: int = 1
    forward: int = 0  # bare passes of the image itself or of the baseline beside these
    options: Mapping[str, Any] = field(default_factory=dict)


GRADIENT = Family("gradient", "FB")
GRAD_CAM = Family("grad-cam", "F")
GUIDED = Family("guided-backprop", "FB")
EIGEN_CAM = Family("eigen-cam", "F")
LRP = Family("lrp-epsilon", "FB")  # what its rules compute beside the pass is not in the limit
ONE_PASS = (GRADIENT, GUIDED, LRP, GRAD_CAM, EIGEN_CAM)  # those of one limit together: it runs once between two
WITHOUT_LRP = (GRADIENT, GUIDED, GRAD_CAM, EIGEN_CAM)
BLOCK_CAM = Family("grad-cam", "F + B of a block")  # a transformer's CAM lies before its last block, not after it
ON_A_TRANSFORMER = (GRADIENT, BLOCK_CAM, EIGEN_CAM)  # no ReLU, and attention, which has rules of its own
HEAVY = (GRADIENT, GRAD_CAM)
HEAVY_TRANSFORMER = (GRADIENT, BLOCK_CAM)


def integrated_gradients(n: int) -> Family:
    """The points, and the scores at both ends, without which the residual is not known."""
    return Family("integrated-gradients", "FB", n, 2, {"steps": n})


def smoothgrad(n: int) -> Family:
    """The samples, and the image itself, which tells the top class."""
    return Family("smoothgrad", "FB", n, 1, {"samples": n})


def rise(n: int) -> Family:
    """The masks, and the image itself, which tells the top class."""
    return Family("rise", "F", n, 1, {"samples": n})


def occlusion(window: int, n: int) -> Family:
    """The windows, `n` of them by half their side, and the image itself, from which the score falls."""
    return Family("occlusion", "F", n, 1, {"window": window, "stride": window // 2})


def score_cam(layer: str, channels: int) -> Family:
    """The channels of a layer, none of which is the same everywhere, and the image itself."""
    return Family("score-cam", "F", channels, 1, {"layer": layer})
