"""Compiled passes: the same maps, by a compiled twin that is kept, sees new weights, and is asked for simple passes only."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn

import sightline as sl
from sightline.cli import main
from sightline.frameworks.torch import compiled

FRAMEWORKS = ("torch",)


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How often each graph that dynamo gave was run; it is run as it is, which takes no C++ compiler."""
    ran: list[int] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> object:
        def call(*args: torch.Tensor) -> object:
            ran.append(1)
            return graph.forward(*args)

        return call

    monkeypatch.setattr(compiled, "BACKEND", backend)
    yield ran
    torch._dynamo.reset()


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        nn.Linear(4, 3),
    ).eval()


def test_maps_are_those_of_the_model_itself(graphs: list[int]) -> None:
    model, x = net(), torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    for method, options in (("integrated-gradients", {"steps": 20}), ("occlusion", {}), ("gradient", {})):
        plain = sl.explain(model, x, method=method, target=1, **options)
        graphs.clear()
        found = sl.explain(model, x, method=method, target=1, compile=True, **options)
        assert isinstance(plain, sl.Explanation) and isinstance(found, sl.Explanation)
        assert graphs, method
        assert torch.allclose(torch.tensor(found.map), torch.tensor(plain.map), rtol=1e-5, atol=1e-7)
        assert any("were compiled" in note for note in found.notes) and not any(
            "compiled" in note for note in plain.notes
        )


class Whole(nn.Module):
    """A model of a class of the user's own."""

    def __init__(self) -> None:
        super().__init__()
        self.net = net()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x) + 1


def test_a_model_of_the_users_own_is_compiled_once(graphs: list[int]) -> None:
    model, x = Whole().eval(), torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    counts = []
    for _ in range(4):
        sl.explain(model, x, method="gradient", target=1, compile=True)
        counts.append(torch._dynamo.utils.counters["stats"]["unique_graphs"])
    assert counts[1:] == counts[1:2] * 3
    assert len(graphs) == 3  # the first call looks whether there is a head


def test_a_training_step_is_seen_and_the_compiled_twin_is_kept(graphs: list[int]) -> None:
    model, x = net(), torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    sl.explain(model, x, method="gradient", target=1)
    sl.explain(model, x, method="gradient", target=1, compile=True)
    with torch.no_grad():
        model[-1].weight.mul_(-2)
    before, graphs[:] = torch._dynamo.utils.counters["stats"]["unique_graphs"], []
    found = sl.explain(model, x, method="gradient", target=1, compile=True)
    plain = sl.explain(model, x, method="gradient", target=1)
    assert graphs and torch._dynamo.utils.counters["stats"]["unique_graphs"] == before
    assert isinstance(plain, sl.Explanation) and isinstance(found, sl.Explanation)
    assert torch.allclose(torch.tensor(found.attribution), torch.tensor(plain.attribution), rtol=1e-5)


def test_passes_with_places_inside_are_not_compiled(graphs: list[int]) -> None:
    model, x = net(), torch.randn(1, 3, 16, 16)
    for method in ("grad-cam", "guided-backprop"):
        sl.explain(model, x, method=method, compile=True)
    assert not graphs


def test_what_cannot_be_compiled_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def broken(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> object:
        raise RuntimeError("no compiler was found")

    monkeypatch.setattr(compiled, "BACKEND", broken)
    x = torch.randn(1, 3, 16, 16)
    model = net()
    sl.explain(model, x, method="gradient")
    with pytest.raises(sl.ModelError, match="cannot compile this model here") as caught:
        sl.explain(model, x, method="gradient", compile=True)
    assert len(str(caught.value).splitlines()) == 2
    torch._dynamo.reset()
    assert main(["explain", "--help"]) == 0 and "--compile" in capsys.readouterr().out
