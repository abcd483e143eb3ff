"""Attributions in closed form against the nets' own; cells that cannot see each other have maps of exactly zero."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch

import sightline as sl
from sightline.errors import ModelError
from sightline.worlds import control, find_world, mosaic, world_net
from sightline.worlds.cells import DiPart, cells_of, disconnected

FRAMEWORKS = ("torch",)
each_kind = pytest.mark.parametrize("kind", control.KINDS)


def as_input(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.moveaxis(image / 255.0, -1, 0)[None])


@each_kind
def test_scores_and_gradients_are_those_of_the_net(kind: str) -> None:
    world, net = find_world(f"control/{kind}"), world_net(f"control/{kind}").double()
    for seed in range(12):
        drawing = world.draw(seed)
        x = as_input(drawing.image).requires_grad_()
        score = net(x)[0, 0]
        score.backward()
        gradient = np.moveaxis(x.grad[0].numpy(), 0, -1)
        truth = world.truth(drawing.image)
        assert score.item() == pytest.approx(drawing.label, abs=1e-7)  # the weights are stored in float32
        assert np.abs(truth["gradient"] - gradient).max() < 1e-8
        assert np.array_equal(truth["input-x-gradient"], truth["gradient"] * (drawing.image / 255))


@each_kind
@pytest.mark.parametrize("baseline", [0.0, 0.4])
def test_integrated_gradients_are_the_mean_over_the_path(kind: str, baseline: float) -> None:
    world, net = find_world(f"control/{kind}"), world_net(f"control/{kind}").double()
    drawing = world.draw(1)
    x, points = as_input(drawing.image), (torch.arange(5000, dtype=torch.float64) + 0.5) / 5000
    total = torch.zeros_like(x)
    for some in points.split(500):
        path = (baseline + some[:, None, None, None] * (x - baseline)).requires_grad_()
        net(path).sum().backward()
        total += path.grad.sum(0)
    expected = np.moveaxis((total / 5000 * (x - baseline))[0].numpy(), 0, -1)
    found = world.truth(drawing.image, baseline)["integrated-gradients"]
    assert np.abs(found - expected).max() < 1e-3 * np.abs(expected).max()


@pytest.mark.parametrize("kind", ["linear", "product"])
def test_shapley_values_are_those_of_all_orders(kind: str) -> None:
    """Six players: four values inside the patches, the rest of both, and the background; all orders of them."""
    world, net = find_world(f"control/{kind}"), world_net(f"control/{kind}").double()
    drawing = world.draw(2)
    x, base = as_input(drawing.image)[0], 0.2
    players = np.zeros((3, 32, 32), int)
    first, second = control.patches(32)
    players[:, first], players[:, second] = 1, 2
    for number, place in enumerate((first, second, first, second)):
        row, column = np.argwhere(place)[7 * number]
        players[number % 3, row, column] = 3 + number
    value = {}
    for mask in range(2**7):
        kept = torch.from_numpy((mask >> players) & 1 == 1)
        value[mask] = net(torch.where(kept, x, base)[None]).item()
    shares, orders = np.zeros(7), list(permutations(range(7)))
    for order in orders:
        mask = 0
        for player in order:
            shares[player] += value[mask | 1 << player] - value[mask]
            mask |= 1 << player
    truth = np.moveaxis(world.truth(drawing.image, base)["shapley"], -1, 0)
    expected = [truth[players == player].sum() for player in range(7)]
    assert np.abs(shares / len(orders) - expected).max() < 1e-7


@each_kind
def test_sightline_finds_the_closed_forms(kind: str) -> None:
    drawing = find_world(f"control/{kind}").draw(5)
    truth = find_world(f"control/{kind}").truth(drawing.image)
    for method in ("gradient", "input-x-gradient"):
        e = sl.explain(f"world:control/{kind}", drawing.image, method=method, target="up")
        assert np.abs(e.attribution[0] - truth[method]).max() < 1e-6 * np.abs(truth[method]).max()
    e = sl.explain(f"world:control/{kind}", drawing.image, method="integrated-gradients", baseline="black", steps=200)
    assert np.abs(e.attribution[0] - truth["integrated-gradients"]).max() < 0.01 * np.abs(e.attribution).max()


@pytest.mark.parametrize("fully", [True, False])
def test_scores_of_a_disconnected_net_are_those_of_its_cells(fully: bool) -> None:
    net, drawing = world_net("fish-scales/rings"), find_world("mosaic/2x2").draw(0)
    x = (as_input(drawing.image).float() - 0.5) / 0.5
    with torch.no_grad():
        found = disconnected(net, 2, fully=fully)(x).reshape(4, 8)
        alone = torch.cat([net(cell) for cell in cells_of(x, 2)])
    if fully:
        assert torch.allclose(found, alone, atol=1e-5)
    else:
        assert not torch.allclose(found, alone, atol=1e-2)  # features at the border see the next cell
        features = net.features(x)
        by_hand = torch.stack(
            [net.head(features[0, :, r : r + 12, c : c + 12].mean((1, 2))) for r in (0, 12) for c in (0, 12)]
        )
        assert torch.allclose(found, by_hand, atol=1e-4)


@pytest.mark.parametrize("method", ["gradient", "integrated-gradients", "guided-backprop", "lrp-epsilon", "occlusion"])
def test_cells_without_a_way_to_the_score_have_maps_of_exactly_zero(method: str) -> None:
    drawing = find_world("mosaic/2x2").draw(3)
    own: mosaic.Mosaic = drawing.parameters
    target = own.explained * 8 + int(drawing.label)
    options = {"integrated-gradients": {"steps": 4}, "occlusion": {"window": 32, "stride": 32}}.get(method, {})
    full = disconnected(world_net("fish-scales/rings"), 2)
    e = sl.explain(
        full, drawing.image, method=method, target=target, preprocess=find_world("mosaic/2x2").preprocess, **options
    )
    most = np.abs(e.map[0][drawing.mask]).max()
    rounding = 1e-5 * most if method == "occlusion" else 0  # passes of other batches round otherwise
    assert most > 0 and np.abs(e.map[0][~drawing.mask]).max() <= rounding


def test_a_partly_disconnected_score_sees_as_far_as_its_features_and_no_further() -> None:
    drawing = find_world("mosaic/2x2").draw(3)
    own: mosaic.Mosaic = drawing.parameters
    part = disconnected(world_net("fish-scales/rings"), 2, fully=False)
    assert isinstance(part, DiPart)
    e = sl.explain(
        part,
        drawing.image,
        method="gradient",
        target=own.explained * 8 + int(drawing.label),
        preprocess=find_world("mosaic/2x2").preprocess,
    )
    down, across = divmod(own.explained, 2)
    margin = 40  # half the receptive field of the seven blocks
    rows, columns = (np.arange(192) for _ in range(2))
    near = [
        (v >= 96 * place - margin) & (v < 96 * (place + 1) + margin) for v, place in ((rows, down), (columns, across))
    ]
    reach = near[0][:, None] & near[1][None]
    assert np.abs(e.map[0][~reach]).max() == 0
    assert np.abs(e.map[0][reach & ~drawing.mask]).max() > 0


def test_map_of_a_mosaic_is_mostly_in_the_explained_cell() -> None:
    shares = []
    for seed in range(6):
        drawing = find_world("mosaic/2x2").draw(seed)
        e = sl.explain("world:mosaic/2x2", drawing.image, method="grad-cam", target=int(drawing.label))
        shares.append(e.map[0][drawing.mask].sum() / e.map[0].sum())
    assert np.mean(shares) > 0.5  # a plain map has a quarter


def test_cells_that_are_not_equal_are_refused() -> None:
    with pytest.raises(ModelError, match="expected multiples of 2"):
        cells_of(torch.zeros(1, 3, 5, 4), 2)
