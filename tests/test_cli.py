"""The command where no framework is needed: usage, lists, names of files, bars."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import sightline as sl
from sightline.cli import main
from sightline.cli.bars import bars
from sightline.cli.explaining import settings
from sightline.cli.files import free_stem, pictures_in, reserved
from sightline.cli.stop import whole_step
from sightline.method import METHODS

FRAMEWORKS = ("none",)
COMMAND = Path(sys.executable).with_name("sightline")


def two_lines(capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    given, fix = capsys.readouterr().err.splitlines()
    return given, fix


def test_installed_command_says_its_version() -> None:
    done = subprocess.run([COMMAND, "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"sightline {sl.__version__}\n", "")


def test_help_loads_no_framework() -> None:
    code = "import sys; from sightline.cli import main; main(['--help']); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "explain" in done.stdout
    loaded = set(done.stderr.split())
    assert "numpy" in loaded
    assert not loaded & {"torch", "torchvision", "tensorflow", "keras", "jax"}


@pytest.mark.parametrize(
    ("arguments", "given", "fix"),
    [
        ([], "Missing command.", "See `sightline --help`."),
        (["explian"], "No such command 'explian'.", "Did you mean 'explain'?"),
        (["explain"], "Missing argument 'IMAGE'.", "See `sightline explain --help`."),
        (
            ["explain", "a.png", "--mehtod", "gradient"],
            "option --mehtod was given; sightline explain does not have it.",
            "Did you mean '--method'?",
        ),
        (
            ["explain", "a.png", "-q"],
            "option -q was given; sightline explain does not have it.",
            "See `sightline explain --help`.",
        ),
        (["explain", "a.png", "--method"], "Option '--method' requires an argument.", "See `sightline --help`."),
        (["explain", "a.png", "--set", "steps"], "--set 'steps' was given; expected key=value.", "--set steps=32."),
        (
            ["explain", "a.png", "--set", "random-state=1"],
            "random_state is not an option of a method.",
            "--random-state",
        ),
        (["explain", "a.png", "--method", "gradcam"], "method 'gradcam' was given", "Did you mean 'grad-cam'?"),
        (["explain", "a.png", "--colormap", "jett"], "The colour map 'jett' was given", "Did you mean 'jet'?"),
        (["explain", "a.png", "--model", "resnet50"], "'resnet50' was given as the model", "torchvision:NAME"),
        (["explain", "a.png", "--model", "nowhere:net"], "No module named 'nowhere'", "Check both names."),
        (["labels", "world:fish-scale/ring"], "fish-scale/ring", "Did you mean 'fish-scales/rings'?"),
    ],
)
def test_wrong_usage_is_two_lines_and_status_2(
    arguments: list[str],
    given: str,
    fix: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert main(arguments) == 2
    said = two_lines(capsys)
    assert given in said[0]
    assert fix in said[1]


def test_number_out_of_range_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "a.png", "--top", "0"]) == 2
    assert "'--top'" in two_lines(capsys)[0]


def test_methods_lists_the_registry(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["methods", "--json"]) == 0
    found = {row["name"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    assert set(found) == set(METHODS)
    assert found["integrated-gradients"]["params"]["steps"] == 50
    assert main(["methods"]) == 0
    table = capsys.readouterr().out.splitlines()
    assert len(table) == 1 + len(METHODS)
    assert next(line for line in table if "integrated-gradients" in line).count("steps=50") == 1


def test_metrics_lists_the_registry(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["metrics"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["name", "family", "better", "needs", "options", "protocols", "source"]
    assert [line.split()[0] for line in lines[1:]] == [metric["name"] for metric in sl.metrics()]
    (deletion,) = [line for line in lines if line.split()[0] == "deletion"]
    assert "steps=50" in deletion and "rise-2018, rise-2018-dataset" in deletion
    assert main(["metrics", "--json"]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {m["name"]: m["high"] for m in found}["complexity"] is None  # no end


def test_settings_are_pairs() -> None:
    assert settings(["steps=32", "baseline = a=b.png", "some-thing=1"]) == {
        "steps": "32",
        "baseline": "a=b.png",
        "some_thing": "1",
    }


def test_ctrl_c_waits_until_a_step_is_done() -> None:
    before = signal.getsignal(signal.SIGINT)
    steps = []
    with pytest.raises(KeyboardInterrupt), whole_step():
        signal.raise_signal(signal.SIGINT)
        steps.append("done")
    assert steps == ["done"]
    with pytest.raises(KeyboardInterrupt), whole_step():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        steps.append("not reached")
    assert steps == ["done"]
    assert signal.getsignal(signal.SIGINT) is before


def test_no_model_means_a_published_one_and_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def no_network(spec: str, **_: Any) -> None:
        raise sl.ModelError(f"{spec} cannot be downloaded.", "Connect to the network.")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sl, "load", no_network)
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert main(["explain", "a.png"]) == 2
    note, given, _ = capsys.readouterr().err.splitlines()
    assert note.startswith("note: no --model was given: torchvision:resnet50")
    assert given == "torchvision:resnet50 cannot be downloaded."


def test_folder_gives_its_pictures_in_order(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.jpg", "notes.txt", ".hidden.png"):
        (tmp_path / name).touch()
    (tmp_path / "deeper").mkdir()
    assert pictures_in(["x.png", str(tmp_path)]) == ["x.png", str(tmp_path / "a.jpg"), str(tmp_path / "b.PNG")]
    with pytest.raises(sl.InputError, match="no picture in this folder"):
        pictures_in([str(tmp_path / "deeper")])
    assert pictures_in(["x" * 5000]) == ["x" * 5000]  # too long to be looked up: reading it says so


def test_folder_without_pictures_is_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", str(tmp_path)]) == 2
    assert "no picture" in two_lines(capsys)[0]


def test_file_names_are_safe_and_never_taken_twice(tmp_path: Path) -> None:
    taken = reserved([str(tmp_path / "cat-gradient-dog.png"), "/elsewhere/cow-gradient-dog.png"], tmp_path)
    assert free_stem(["cat", "gradient", "dog"], taken) == "cat-gradient-dog-2"
    assert free_stem(["CAT", "gradient", "dog"], taken) == "CAT-gradient-dog-3"  # one file where capitals do not count
    assert free_stem(["cow", "gradient", "dog"], taken) == "cow-gradient-dog"
    assert free_stem(["../../etc", "x", "a / b: <c>?\n"], taken) == "etc-x-a_b_c"
    assert free_stem(["Äpfel", "x", ".."], taken) == "Äpfel-x-_"
    assert len(free_stem(["n" * 500, "x", "l" * 500], taken)) < 130


def test_bars_follow_the_streams_and_draw_nothing_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    from sightline.stream import PROGRESS

    with bars(3) as shown:
        shown.began -= 60
        shown.image("b.png", 1)
        tell = PROGRESS.get()
        assert tell is not None
        tell(5, 20)
        images, passes = shown.progress.tasks
        assert (images.completed, images.total, images.visible) == (1, 3, True)
        assert (passes.description, passes.completed, passes.total) == ("b.png", 5, 20)
    assert PROGRESS.get() is None
    assert capsys.readouterr() == ("", "")
