"""The shipped net counts rings, and its trainer makes the same net twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

from sightline.errors import InputError, ModelError
from sightline.worlds import DEMO_SEED, DEMO_SIZE, find_world, fish_scales_net, nets, train

FRAMEWORKS = ("torch",)
WORLD = find_world("fish-scales")
SMALL = find_world("fish-scales/size")  # whose pictures and net are small
SHORT = train.Recipe(pictures=64, steps=60, batch=16, rate=4e-3)


def test_shipped_net_counts_the_rings_of_fresh_pictures() -> None:
    assert train.accuracy(fish_scales_net(), WORLD, range(10_000, 10_200)) >= 0.9


def test_accuracy_is_that_of_the_predictions() -> None:
    net, right = fish_scales_net(), 0
    for seed in range(20):
        drawing = WORLD.draw(seed, size=96)
        x = torch.tensor((drawing.image.transpose(2, 0, 1)[None] / 255 - 0.5) / 0.5, dtype=torch.float32)
        right += int(net(x).argmax()) + 1 == drawing.age
    assert train.accuracy(net, WORLD, range(20)) == right / 20


def test_net_does_not_count_the_rings_of_the_neighbour() -> None:
    net = fish_scales_net()
    with_neighbour = [WORLD.draw(seed, size=96, neighbour=True) for seed in range(100)]
    images = torch.from_numpy(np.stack([drawing.image for drawing in with_neighbour]))
    with torch.no_grad():
        ages = net(train.as_input(images)).argmax(1).numpy() + 1
    assert (ages == [drawing.age for drawing in with_neighbour]).mean() >= 0.9


def test_one_ring_more_is_one_year_more() -> None:
    net = fish_scales_net()
    drawings = [WORLD.draw(seed, size=96, age=age) for seed in range(20) for age in (4, 5)]
    with torch.no_grad():
        ages = net(train.as_input(torch.from_numpy(np.stack([d.image for d in drawings])))).argmax(1).reshape(-1, 2)
    assert (ages[:, 1] - ages[:, 0] == 1).float().mean() >= 0.9


def test_net_is_right_about_the_demonstration_picture() -> None:
    drawing = WORLD.draw(DEMO_SEED, size=DEMO_SIZE)
    small = np.asarray(Image.fromarray(drawing.image).resize((96, 96), Image.Resampling.BILINEAR))
    with torch.no_grad():
        probability = fish_scales_net()(train.as_input(torch.from_numpy(small.copy())[None])).softmax(1)[0]
    assert drawing.age == 5 and probability[4] > 0.9


def test_layers_are_named_and_the_last_block_has_a_grid() -> None:
    net = fish_scales_net()
    assert not net.training and [name for name, _ in net.named_children()] == ["features", "pool", "flatten", "head"]
    assert net.get_submodule("features")(torch.zeros(2, 3, 96, 96)).shape == (2, 96, 12, 12)
    assert isinstance(net.get_submodule("features.3.conv"), torch.nn.Conv2d)
    assert sum(parameter.numel() for parameter in net.parameters()) < 250_000


def test_short_training_learns_and_is_the_same_twice() -> None:
    random_state = torch.get_rng_state()
    net, losses = train.train(SMALL, 1, SHORT)
    again, _ = train.train(SMALL, 1, SHORT)
    other, _ = train.train(SMALL, 2, SHORT._replace(steps=2))
    assert torch.equal(random_state, torch.get_rng_state())
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])
    state = net.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in again.state_dict().items())
    assert not torch.equal(other.state_dict()["head.weight"], state["head.weight"])


def test_eight_ways_to_turn_are_eight_different_pictures() -> None:
    x = torch.arange(12.0).reshape(1, 3, 2, 2)
    assert len({tuple(train.turned(x, way).flatten().tolist()) for way in range(8)}) == 8


def test_weights_are_written_whole_with_facts(tmp_path: Path) -> None:
    net = nets.ring_counter()
    train.write_weights(net, tmp_path / "new" / "net.safetensors", {"accuracy": "0.5"})
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["net.safetensors"]
    loaded = nets.trained(tmp_path / "new" / "net.safetensors", nets.ring_counter())
    kept = net.half().float().state_dict()
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in kept.items())
    with safe_open(tmp_path / "new" / "net.safetensors", "pt") as file:
        assert file.metadata() == {"accuracy": "0.5"}


def test_failed_write_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(InputError, match="disk full"):
        train.write_weights(nets.ring_counter(), tmp_path / "net.safetensors", {})
    assert list(tmp_path.iterdir()) == []


def test_shipped_weights_say_how_good_they_are() -> None:
    with safe_open(WORLD.weights, "pt") as file:
        facts = file.metadata()
    assert float(facts["accuracy"]) >= 0.9 and {"seed", "steps", "pictures", "torch", "numpy"} <= set(facts)


def test_missing_or_wrong_weights_are_refused(tmp_path: Path) -> None:
    (tmp_path / "broken.safetensors").write_bytes(b"no weights")
    for name in ("broken.safetensors", "missing.safetensors"):
        with pytest.raises(ModelError, match="cannot be loaded"):
            nets.trained(tmp_path / name, nets.ring_counter())
    with pytest.raises(ModelError, match="cannot be loaded"):
        nets.trained(WORLD.weights, nets.ring_counter(9))


def test_command_refuses_what_it_cannot_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert train.main(["fish-tails"]) == 2
    assert train.main(["fish-scales", "--out", str(tmp_path / "file" / "net.safetensors")]) == 2
    for name in ("mosaic/2x2", "control/linear"):
        assert train.main([name]) == 2
    assert train.main(["fish-scales", "--random-labels"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 10
    with pytest.raises(SystemExit, match="2"):
        train.main(["fish-scales", "--steps", "0"])
