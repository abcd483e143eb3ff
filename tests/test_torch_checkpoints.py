"""Gradient checkpointing: what a gradient alone needs is right, and what must see each operation is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import sightline as sl

FRAMEWORKS = ("torch",)


class Net(nn.Module):
    """A net whose body may run again on the way back, in one of torch's two forms, or not."""

    def __init__(self, reentrant: bool | None) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 5, 3), nn.ReLU())
        self.fc, self.reentrant = nn.Linear(5, 4), reentrant

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.body(x) if self.reentrant is None else checkpoint(self.body, x, use_reentrant=self.reentrant)
        return self.fc(y.mean((2, 3)))


def net(reentrant: bool | None) -> Net:
    torch.manual_seed(0)
    return Net(reentrant).eval()


def image() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(2, 3, 14, 12)).astype(np.float32)


KEEPS = [
    (False, "gradient"),
    (False, "integrated-gradients"),
    (False, "score-cam"),
    (True, "score-cam"),
    (True, "rise"),
]


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
@pytest.mark.parametrize(("reentrant", "method"), KEEPS)
def test_what_needs_no_rule_is_as_it_is_without(reentrant: bool, method: str) -> None:
    layer = "body" if method == "score-cam" else None
    found, expected = (
        sl.explain(net(form), image(), method=method, target=1, layer=layer).attribution for form in (reentrant, None)
    )
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize(
    "method", ["guided-backprop", "beta-smooth", "lrp-epsilon", "deep-lift", "excitation-backprop"]
)
@pytest.mark.parametrize("reentrant", [True, False])
def test_a_rule_is_refused(reentrant: bool, method: str) -> None:
    with pytest.raises(sl.ModelError, match=r"gradient checkpointing.*\n.*set_grad_checkpointing\(False\)"):
        sl.explain(net(reentrant), image(), method=method, target=1)


@pytest.mark.parametrize(("reentrant", "method"), [(True, "gradient"), (False, "grad-cam")])
def test_what_the_form_of_checkpointing_forbids_is_refused(reentrant: bool, method: str) -> None:
    layer = "body.3" if method == "grad-cam" else None
    with pytest.raises(sl.ModelError, match="gradient checkpointing"):
        sl.explain(net(reentrant), image(), method=method, target=1, layer=layer)
