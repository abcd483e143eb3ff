"""Errors of other libraries in methods beyond the first nine; each test shows that sightline does not make it.

The numbers run on from `test_peers_errors.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import paper
from nets import build
from sightline.frameworks.torch import TorchModel
from sightline.method import METHODS
from sightline.model import Target
from test_peers_errors_torch import IMAGES, NET, batch, class_3, found, whole

FRAMEWORKS = ("torch",)


def scaled(by: float, more: float) -> nn.Module:
    """The small net with its scores times `by`, and `more`."""
    net = build(NET)
    with torch.no_grad():
        net.head.weight.mul_(by)
        net.head.bias.mul_(by).add_(more)
    return net


def plus_plus(i: int, share: Any) -> np.ndarray:
    """Grad-CAM++ of image i, with a cell's share as a function of gradients (h, w) and activations (h, w)."""
    a, g = paper.forward(NET, IMAGES[i])[5], paper.backward(NET, IMAGES[i], 3, at="relu2")
    cam = np.zeros(a.shape[:2])
    for c in range(a.shape[2]):
        shares = np.where(g[..., c] == 0, 0, share(g[..., c], a[..., c]))
        cam += (shares * np.maximum(g[..., c], 0)).sum() * a[..., c]
    return np.maximum(cam, 0)


def test_40_grad_cam_plus_plus_of_large_scores_is_finite() -> None:
    """tf-keras-vis GradcamPlusPlus multiplies by the exponential of the score: NaN at a logit of 1745."""
    plain = found(build(NET), "grad-cam-plus-plus", batch())
    np.testing.assert_allclose(found(scaled(1, 1e5), "grad-cam-plus-plus", batch()), plain, rtol=1e-9)
    for by in (1e-12, 1e12):
        cam = found(scaled(by, 0), "grad-cam-plus-plus", batch())
        assert torch.isfinite(cam).all()
        assert cam.max() > 0


def test_41_grad_cam_plus_plus_has_the_papers_share_of_each_cell() -> None:
    """torchcam GradCAMpp divides a copy, so that the denominator is never applied; xplique GradCAMPP has the mean of the
    activations where the paper has the sum; pytorch-grad-cam GradCAMPlusPlus adds 1e-6, and fades where gradients are
    small: scores times 1e-4 are another map there altogether."""
    right = [plus_plus(i, lambda g, a: g**2 / (2 * g**2 + g**3 * a.sum())) for i in range(3)]
    undivided = [plus_plus(i, lambda g, a: g**2) for i in range(3)]
    mean = [plus_plus(i, lambda g, a: g**2 / (2 * g**2 + g**3 * a.mean())) for i in range(3)]
    cam = found(build(NET), "grad-cam-plus-plus", batch())
    np.testing.assert_allclose(cam, right, rtol=0, atol=1e-12)
    for wrong in (undivided, mean):
        assert max(np.abs(w / w.max() - r / r.max()).max() for w, r in zip(wrong, right) if w.max() and r.max()) > 1e-3
    faint = found(scaled(1e-9, 0), "grad-cam-plus-plus", batch()).numpy()
    for map_, limit in zip(faint, (plus_plus(i, lambda g, a: 0.5) for i in range(3))):  # where the gradients vanish
        np.testing.assert_allclose(map_, 1e-9 * limit, rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", ["eigen-cam", "eigen-grad-cam", "kpca-cam"])
def test_42_a_principal_component_points_to_where_the_features_are(name: str) -> None:
    """pytorch-grad-cam EigenCAM leaves the sign to the decomposition: inverted maps (its issue 364)."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 1, bias=False), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)
    ).double()
    x = 0.01 * torch.rand(8, 3, 12, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x[:, :, 3:6, 7:10] += 1
    with torch.no_grad():
        for p in net.parameters():
            p.abs_()
    heat = found(net, name, x)
    inside = heat[:, 3:6, 7:10].mean((1, 2))
    assert (inside > 5 * heat.clamp(min=0).mean((1, 2))).all()


def test_43_score_cam_weighs_by_scores_before_a_sigmoid() -> None:
    """tf-keras-vis Scorecam puts a softmax over the model's output: with one sigmoid all weights are 1, and the map is
    the unweighted sum of the feature maps; with a softmax model p = 0.9999 counts 0.475."""
    one = paper.small_net(seed=3, classes=1)
    top = lambda outputs: outputs[None, :, 0]  # noqa: E731
    plain = found(build(one), "score-cam", batch(), top)
    np.testing.assert_allclose(
        found(nn.Sequential(build(one), nn.Sigmoid()), "score-cam", batch(), top), plain, rtol=1e-9
    )
    features = np.stack([paper.forward(one, image)[5] for image in IMAGES]).sum(-1)
    for map_, sum_ in zip(plain.numpy(), features):
        assert np.abs(map_ / map_.max() - sum_ / sum_.max()).max() > 0.01


@pytest.mark.parametrize("name", ["blur-integrated-gradients", "guided-integrated-gradients"])
def test_44_each_step_of_a_path_has_its_own_width_whatever_the_chunk(name: str) -> None:
    """PAIR BlurIG takes the last step's width for a whole batch of steps: 55 % apart between batches of 1 and 20; its
    GuidedIG raises on NumPy 2.4 (`interpolation=` of a quantile)."""
    x, options = batch(), {"steps": 6}
    if "baseline" in METHODS[name].params:
        options["baseline"] = torch.zeros_like(x)
    maps = [
        METHODS[name].attribute(TorchModel(build(NET), chunk=chunk), x, Target(class_3), **options) for chunk in (1, 64)
    ]
    np.testing.assert_allclose(maps[0][0], maps[1][0], rtol=0, atol=1e-12)
    assert maps[0][0].abs().max() > 1e-3


def test_45_each_random_mask_has_a_shift_of_its_own() -> None:
    """xplique Rise: one random crop for a batch of masks, so that 32 share one shift."""
    edges = []

    class Sees(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for mask in x[:, 0].numpy():
                bent = np.abs(np.diff(mask, 2, axis=0)).max(axis=1) > 1e-9  # linear between the cells' centres
                edges.extend([tuple(np.flatnonzero(bent) % 6)] if bent.any() else [])
            return x.mean((2, 3))

    x = torch.ones(1, 3, 24, 24, dtype=torch.float64)
    options = {"baseline": torch.zeros_like(x), "cells": 4, "samples": 40}
    METHODS["rise"].attribute(TorchModel(Sees(), chunk=64), x, Target(whole), **options)
    assert len({edge[:1] for edge in edges}) >= 4  # of 6 shifts of a cell
