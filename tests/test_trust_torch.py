"""Comparison, benchmark and verdict on nets whose answer is known, and through the command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import sightline as sl
from sightline.benchmark import trained
from sightline.cli import main
from sightline.worlds import find_world

FRAMEWORKS = ("torch",)
WORLD = "damaged-parts/honest"


@pytest.fixture(scope="module")
def parts() -> list[Any]:
    """Damaged parts that the nets were not trained on."""
    world = find_world(WORLD)
    drawings = (world.draw(seed, size=world.size) for seed in range(40))
    return [drawing for drawing in drawings if drawing.mask.any()][:6]


def test_comparison_is_explain_and_measure_of_each_method(parts: list[Any]) -> None:
    images, masks = [p.image for p in parts], [p.mask for p in parts]
    methods = ("gradient", "integrated-gradients:baseline=mean,steps=8", "random")
    found = sl.compare(f"world:{WORLD}", images, method=methods, metric=["energy-pointing-game"], masks=masks)
    assert found.board.rows == methods and len(found.explanations) == 3
    alone = sl.measure(
        f"world:{WORLD}",
        images,
        method="integrated-gradients",
        baseline="mean",
        steps=8,
        metric="energy-pointing-game",
        masks=masks,
    )[0]
    assert found.board.cells[methods[1], "energy-pointing-game"].mean == pytest.approx(alone.mean, rel=1e-6)
    area = np.mean([mask.mean() for mask in masks])
    assert found.board.cells["random", "energy-pointing-game"].mean == pytest.approx(area, abs=0.01)
    assert found.board.cells[methods[1], "energy-pointing-game"].mean > 5 * area
    assert found.picture().width > 600 and len(found.facts()["explanations"]["gradient"]) == len(parts)


def test_benchmark_asks_every_training_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sl.benchmark.__globals__, "FEW", 2)
    assert trained(WORLD) == [WORLD, *(f"{WORLD}-{seed}" for seed in range(1, 5))]
    metrics = ["energy-pointing-game", "deletion:steps=4", "max-sensitivity:samples=2"]
    found = sl.benchmark(WORLD, count=4, method=["gradient"], metric=metrics)
    assert found.rows == ("gradient", "random", "gaussian", "edges")
    assert found.cells["gradient", "energy-pointing-game"].count == 20
    assert found.cells["gradient", "max-sensitivity"].count == 10
    assert found.cells["edges", "max-sensitivity"].mean < found.cells["gradient", "max-sensitivity"].mean
    assert "gradient" in found.best("energy-pointing-game")
    assert found.facts["nets"] == trained(WORLD)


def test_verdict_abstains_or_doubts_what_has_not_seen_the_model(parts: list[Any]) -> None:
    images = [p.image for p in parts]
    found = sl.verdict(f"world:{WORLD}", images, method="smoothgrad", samples=8, form="squared")
    assert {sign.name for sign in found.signs} == {"deletion", "randomisation", "seeds"}
    silly = sl.verdict(f"world:{WORLD}", images, method="edges")
    words = [silly.word(i) for i in range(len(images))]
    assert sl.verdict.__globals__["BELIEVE"] not in words and not silly.signs[1].good.any()
    assert silly.signs[0].values.max() <= 1e-9  # an edge detector is not ahead of itself
    facts = json.loads(json.dumps(found.facts(0)))
    good = [sign["good"] for sign in facts["signs"].values()]
    assert facts["verdict"] == ("believe" if all(good) else "abstain" if any(good) else "doubt")
    assert len(facts["reasons"]) == 3


def test_nothing_speaks_for_a_map_that_is_the_same_everywhere(parts: list[Any]) -> None:
    empty = np.full_like(parts[0].image, 128)  # without edges
    found = sl.verdict(f"world:{WORLD}", [empty, parts[0].image], method="edges")
    assert not any(sign.good[0] for sign in found.signs) and np.isfinite(found.signs[1].values[1])
    assert found.word(0) == "doubt" and "(the map is the same everywhere)" in found.reasons(0)[0]
    assert {sign["value"] for sign in found.facts(0)["signs"].values()} == {None}


def test_verdict_knows_a_blind_baseline(parts: list[Any]) -> None:
    found = sl.verdict(f"world:{WORLD}", [parts[0].image], method="integrated-gradients", steps=8)
    assert [sign.name for sign in found.signs] == ["deletion", "randomisation", "baselines"]
    with pytest.raises(sl.MethodError, match="a verdict is of one"):
        sl.verdict(f"world:{WORLD}", [parts[0].image], method=["gradient"])


def test_commands_write_their_tables(parts: list[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(parts[0].image).save(tmp_path / "part.png")
    asked = ["--method", "gradient", "--metric", "deletion:steps=4", "--out", str(tmp_path / "out"), "--json"]
    assert main(["compare", str(tmp_path / "part.png"), "--model", f"world:{WORLD}", *asked]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["methods"]["gradient"]["deletion"]["count"] == 1
    assert all(Path(path).exists() for path in facts["files"].values())
    assert main(["benchmark", "fish-scales/size", "--count", "3", *asked]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert set(facts["methods"]) == {"gradient", "random", "gaussian", "edges"} and facts["pictures"] == 3


def test_a_verdict_comes_with_a_map_on_request(
    parts: list[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(parts[0].image).save(tmp_path / "part.png")
    asked = ["explain", str(tmp_path / "part.png"), "--model", f"world:{WORLD}", "--out", str(tmp_path), "--verdict"]
    assert main([*asked, "--method", "gradient", "--method", "edges", "--json"]) == 0
    gradient, edges = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert edges["verdict"] == "doubt" and not edges["signs"]["randomisation"]["good"]
    alone = sl.verdict(f"world:{WORLD}", str(tmp_path / "part.png"), method="gradient").facts()
    assert {name: gradient[name] for name in alone} == alone
    assert main([*asked, "--method", "edges"]) == 0
    assert "edges: doubt" in capsys.readouterr().out
