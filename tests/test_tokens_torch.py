"""A small vision transformer that has learnt the colour of a patch, and whether maps of its tokens point at the patch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import sightline as sl
from token_nets import CELL, SmallViT, drawn, trained

FRAMEWORKS = ("torch",)


@pytest.fixture(scope="module")
def net() -> SmallViT:
    return trained()


def hits(net: SmallViT, method: str, **options: Any) -> torch.Tensor:
    """Of 24 pictures, in which the cell of the highest mean is that of the patch; and their colours."""
    pictures, colours, cells = drawn(24, 7)
    e = sl.explain(net, pictures, method=method, target="top", **options)
    assert [t["index"] for t in e.target] == colours.tolist()
    pooled = F.avg_pool2d(torch.as_tensor(np.maximum(e.map, 0))[:, None], CELL).flatten(1)
    return (pooled.argmax(1) == cells).float()


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("integrated-gradients", {"baseline": 0}),
        ("recipro-cam", {"layer": "blocks.0.norm1"}),
        ("attn-lrp", {}),
        ("attention-rollout", {}),
    ],
)
def test_a_map_points_at_the_patch_that_the_class_is_about(net: SmallViT, method: str, options: dict[str, Any]) -> None:
    """A cell alone tells: tokens are where they should be. (Grad-CAM's mean gradient over the cells does not tell here.)"""
    assert hits(net, method, **options).mean() >= 0.9


@pytest.mark.parametrize(
    ("method", "share"),
    [
        ("gradient-attention-rollout", 0.5),
        ("generic-attention", 0.5),
        ("transformer-attribution", 0.5),
        ("legrad", 0.3),
    ],
)
def test_what_keeps_only_what_speaks_for_a_class_misses_some_but_does_not_guess(
    net: SmallViT, method: str, share: float
) -> None:
    """Chance is 1/36. Most misses are of one colour, which the net tells by what is not there."""
    found = hits(net, method)
    colours = drawn(24, 7)[1]
    assert found.mean() >= share
    assert max(found[colours == colour].mean() for colour in range(3)) >= 0.9


def test_a_cam_at_the_last_block_of_a_net_with_a_token_of_the_class_hardly_points_at_the_patch(net: SmallViT) -> None:
    """Its cells tell on the score through one more attention alone."""
    assert hits(net, "grad-cam").mean() <= 0.2
