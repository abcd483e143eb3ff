"""What the shipped nets go by, proved by their own answers to changed pictures; and what their trainer does."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

import sightline as sl
from sightline.errors import InputError
from sightline.worlds import WORLDS, Drawing, find_world, train, world_net

FRAMEWORKS = ("torch",)
FRESH = range(20_000, 20_200)
INSPECTIONS = [name for name in WORLDS if name.startswith("damaged-parts")]
TINY = train.Recipe(pictures=96, steps=30, batch=32, rate=4e-3)


@cache
def fresh(name: str, count: int = 100) -> list[Drawing]:
    """Pictures as a net was trained on, of seeds that no net was trained on."""
    world = find_world(name)
    return [world.draw(seed, size=world.size) for seed in FRESH[:count]]


def asked(name: str, drawings: list[Drawing]) -> np.ndarray:
    images = torch.from_numpy(np.stack([drawing.image for drawing in drawings]))
    return train.answers_of(world_net(name), images).numpy()


def after(name: str, what: str, pictures: str | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A net's answers before and after a change, and the right ones after it; to the `pictures` of another variant."""
    world, before, changed = find_world(name), [], []
    for drawing in fresh(pictures or name):
        try:
            changed.append(world.intervene(drawing.parameters, what))
            before.append(drawing)
        except InputError:
            assert what == "add-ring" and drawing.facts["rings"] == 8
    right = [world.interventions[what].answer(old, new) for old, new in zip(before, changed)]
    return asked(name, before), asked(name, changed), np.array(right)


@pytest.mark.parametrize("name", ["damaged-parts/honest", "damaged-parts/cheat", "fish-scales/size"])
def test_accuracy_on_its_own_kind_of_picture(name: str) -> None:
    assert train.accuracy(world_net(name), find_world(name), FRESH) >= (0.8 if "fish" in name else 0.95)


@pytest.mark.parametrize("name", [name for name in INSPECTIONS if find_world(name).seed])
def test_accuracy_of_the_nets_of_other_training_seeds(name: str) -> None:
    drawings = fresh(name.rstrip("-1234"), 200)
    assert (asked(name, drawings) == [drawing.label for drawing in drawings]).mean() >= 0.95


def test_regression_tells_the_age_to_a_third_of_a_year() -> None:
    assert train.accuracy(world_net("fish-scales/regression"), find_world("fish-scales/regression"), FRESH) < 0.35


@cache
def parts(damaged: bool, tagged: bool) -> list[Drawing]:
    """The same parts with and without damage, with and without tag, by the world's own changes."""
    world = find_world("damaged-parts/honest")
    first, second = ("add-damage" if damaged else "remove-damage"), ("put-tag-on" if tagged else "take-tag-off")
    once = [world.intervene(drawing.parameters, first) for drawing in fresh("damaged-parts/honest")]
    return [world.intervene(drawing.parameters, second) for drawing in once]


@pytest.mark.parametrize("name", INSPECTIONS)
def test_honest_nets_follow_the_damage_and_cheats_the_tag(name: str) -> None:
    for damaged in (False, True):
        for tagged in (False, True):
            expected = damaged if "honest" in name else tagged
            assert (asked(name, parts(damaged, tagged)) == expected).mean() >= 0.9, (damaged, tagged)


@pytest.mark.parametrize("what", ["remove-damage", "add-damage", "take-tag-off", "put-tag-on", "swap-background"])
@pytest.mark.parametrize("name", ["damaged-parts/honest", "damaged-parts/cheat"])
def test_answer_after_each_change_is_the_one_that_the_world_names(name: str, what: str) -> None:
    before, answers, right = after(name, what)
    assert (answers == right).mean() >= 0.9
    stays = (what == "swap-background") or (("tag" in what) == ("honest" in name))
    assert not stays or (answers == before).mean() >= 0.9


def test_honest_net_finds_every_kind_of_damage() -> None:
    hurt = [drawing for drawing in fresh("damaged-parts/honest", 200) if drawing.label]
    found = asked("damaged-parts/honest", hurt) == 1
    for tone in ("dark", "bright"):
        assert found[[str(d.facts["damage"]).startswith(tone) for d in hurt]].mean() >= 0.9
    for kind in ("scratch", "dent", "crack", "stain"):
        assert found[[str(d.facts["damage"]).endswith(kind) for d in hurt]].mean() >= 0.8


def test_ring_counter_counts_a_ring_more_and_does_not_mind_the_size() -> None:
    before, answers, _ = after("fish-scales/rings", "add-ring")
    assert (answers - before == 1).mean() >= 0.8
    before, answers, _ = after("fish-scales/rings", "rescale")
    assert (answers == before).mean() >= 0.8


def test_net_that_goes_by_size_does_not_mind_rings() -> None:
    before, answers, _ = after("fish-scales/size", "add-ring")
    assert (answers == before).mean() >= 0.8
    before, answers, right = after("fish-scales/size", "rescale")
    assert (answers == right).mean() >= 0.8 and (answers != before).mean() >= 0.8


def test_regression_rises_by_a_year_with_a_ring() -> None:
    before, answers, _ = after("fish-scales/regression", "add-ring")
    assert 0.8 < np.median(answers - before) < 1.2
    before, answers, _ = after("fish-scales/regression", "swap-background")
    assert np.abs(answers - before).mean() < 0.2


def test_quantity_is_explained_as_one() -> None:
    drawing = find_world("fish-scales/regression").draw(20_001)
    up = sl.explain("world:fish-scales/regression", drawing.image, method="gradient", target="up")
    assert isinstance(up, sl.Explanation)
    assert float(up.score[0]) == pytest.approx(drawing.label, abs=1)


@pytest.mark.parametrize("name", ["fish-scales/size", "fish-scales/regression", *INSPECTIONS])
def test_weights_say_how_they_were_made(name: str) -> None:
    world = find_world(name)
    assert world.weights is not None
    with safe_open(world.weights, "pt") as file:
        facts = file.metadata()
        kinds = {file.get_tensor(key).dtype for key in file.keys()}  # noqa: SIM118
    recipe = world.recipe
    assert facts["world"] == name and int(facts["seed"]) == world.seed
    assert (int(facts["pictures"]), int(facts["steps"])) == (recipe.pictures, recipe.steps)
    assert facts["random_labels"] == "False" and {"torch", "numpy"} <= set(facts)
    assert kinds == {torch.float16, torch.int64}


def test_random_labels_leave_nothing_to_learn() -> None:
    """A net of the size world learns its pictures' order of size in a few steps, and not with labels dealt at random."""
    world = find_world("fish-scales/size")
    _, learnt = train.train(world, 0, TINY)
    _, random = train.train(world, 0, TINY, random_labels=True)
    assert np.mean(learnt[-5:]) < np.mean(random[-5:]) - 0.1
    images, answers = train.drawn(world, range(4))
    assert images.shape == (4, 64, 64, 3) and answers.dtype == torch.int64


def test_a_net_that_begins_with_another_ones_features_has_them() -> None:
    world = find_world("fish-scales/regression")
    rings = world_net("fish-scales/rings").features.state_dict()
    begun = train.beginning(world, 0, random_labels=False).features.state_dict()
    assert all(torch.equal(begun[key], value) for key, value in rings.items())
    blank = train.beginning(world, 0, random_labels=True).features.state_dict()
    assert not torch.equal(blank["0.conv.weight"], rings["0.conv.weight"])


def test_command_trains_and_writes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "CHECKED", range(20))
    out = tmp_path / "net.safetensors"
    assert train.main(["damaged-parts/cheat", "--out", str(out), "--seed", "3", "--steps", "2", "--pictures", "8"]) == 0
    with safe_open(out, "pt") as file:
        facts = file.metadata()
    assert (facts["world"], facts["seed"], facts["steps"], facts["pictures"]) == ("damaged-parts/cheat", "3", "2", "8")
    assert f"accuracy {float(facts['accuracy']):.3f}" in capsys.readouterr().err
