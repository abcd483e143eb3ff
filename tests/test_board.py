"""The table methods × metrics: figures over images and training seeds, what is best, and how it is written."""

from __future__ import annotations

import csv
import json
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

import sightline as sl
from sightline.board import board
from sightline.figures import mean_of, mean_over_seeds

FRAMEWORKS = ("none",)


def measurement(metric: str, values: list[float], seconds: float = 1.0) -> Any:
    explanation: Any = SimpleNamespace(seconds=seconds, method="m")
    return sl.Measurement(metric, np.array(values), {"steps": 3}, {}, explanation, 0.0)


@pytest.fixture
def made() -> sl.Board:
    rows = {
        "good": [[measurement("deletion", [0.1, 0.2, 0.15]), measurement("insertion", [0.9, 0.8, 0.85])]],
        "bad": [[measurement("deletion", [0.8, 0.9, 0.85]), measurement("insertion", [0.88, 0.7, 0.95])]],
        "none": [[measurement("deletion", [np.nan] * 3), measurement("insertion", [0.1, 0.2, 0.1])]],
    }
    return board("a title", rows, {"model": "m"})


def test_cells_are_means_with_intervals(made: sl.Board) -> None:
    cell = made.cells["good", "deletion"]
    assert cell == mean_of([0.1, 0.2, 0.15]) and cell.mean == pytest.approx(0.15) and cell.count == 3
    assert made.seconds["good"].mean == pytest.approx(1 / 3)


def test_the_best_is_whom_none_surely_beats(made: sl.Board) -> None:
    assert made.best("deletion") == {"good"}  # lower is better
    assert made.best("insertion") == {"good", "bad"}  # their intervals meet


def test_it_is_written_in_four_ways(made: sl.Board, tmp_path: Path) -> None:
    text = made.save(tmp_path / "b.md").read_text()
    assert "| good | 0.15 ± " in text and "*" in text.splitlines()[4] and "| none | – |" in text
    rows = list(csv.DictReader(StringIO(made.save(tmp_path / "b.csv").read_text())))
    cell = next(row for row in rows if (row["method"], row["metric"]) == ("good", "deletion"))
    assert float(cell["mean"]) == pytest.approx(0.15) and cell["count"] == "3"
    facts = json.loads(made.save(tmp_path / "b.json").read_text())
    assert facts["methods"]["good"]["deletion"]["mean"] == pytest.approx(0.15)
    assert facts["methods"]["none"]["deletion"]["mean"] is None and facts["protocols"]["deletion"] == {"steps": 3}
    with Image.open(made.save(tmp_path / "b.png")) as picture:
        assert picture.width > 700
    with pytest.raises(sl.InputError, match=r"\.md, \.csv, \.json, \.png"):
        made.save(tmp_path / "b.txt")


def test_the_better_cell_is_the_lighter(made: sl.Board) -> None:
    shades = made._shades("deletion")
    assert sum(shades["good"]) > sum(shades["bad"]) and "none" not in shades


def test_seeds_of_training_widen_the_interval() -> None:
    rng = np.random.default_rng(0)
    alike = [rng.normal(0, 1, 50) for _ in range(5)]
    apart = [values + shift for values, shift in zip(alike, (-2, -1, 0, 1, 2))]
    narrow, wide = mean_over_seeds(alike), mean_over_seeds(apart)
    assert wide.mean == pytest.approx(narrow.mean, abs=1e-9) and wide.count == 250
    assert wide.high - wide.low > 3 * (narrow.high - narrow.low)
    assert mean_over_seeds(alike[:1]) == mean_of(alike[0])
