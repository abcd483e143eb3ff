"""The command where no framework is needed: usage, lists, files, streams."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import sightline as sl
from sightline.cli import explaining, main
from sightline.cli.bars import bars
from sightline.cli.explaining import settings
from sightline.cli.files import free_stem, pictures_in, reserved
from sightline.cli.stop import whole_step
from sightline.method import METHODS
from sightline.model import Edit, Layer, Rule, Target, Trace

FRAMEWORKS = ("none",)
COMMAND = Path(sys.executable).with_name("sightline")
WEIGHTS = np.linspace(-1, 1, 4 * 4 * 3 * 2).reshape(48, 2)  # of a linear model with two classes
PREPROCESS = "resize=4x4"


class Linear:
    """A linear model in NumPy, whose gradient is its weights; `fails` may raise for an image."""

    channel, chunk = -1, 8

    def __init__(self, fails: Callable[[], None] = lambda: None) -> None:
        self.fails = fails

    def array(self, x: Any) -> Any:
        return np.asarray(x, np.float64)

    def places(self, x: Any) -> list[Layer]:
        return [Layer("", "input", x.shape[1:])]

    def run(
        self,
        x: Any,
        *,
        at: Sequence[str] = (),
        edit: Mapping[str, Edit] | None = None,
        target: Target | None = None,
        rule: Rule | None = None,
    ) -> Trace:
        self.fails()
        outputs = x.reshape(len(x), -1) @ WEIGHTS
        if target is None:
            return Trace(outputs)
        score = target(outputs)
        slopes = [(target(outputs + 1e-6 * step) - score) / 1e-6 for step in np.eye(2)]  # (k, n) for each class
        grads = sum(s[..., None] * w for s, w in zip(slopes, WEIGHTS.T))
        return Trace(outputs, score, {"": x}, {"": grads.reshape(-1, *x.shape)})


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Any], None]:
    """In an empty folder, let the command explain a model object."""
    monkeypatch.chdir(tmp_path)

    def use_model(model: Any) -> None:
        loaded = sl.load(model, preprocess=PREPROCESS, labels=["dark", "light"])
        monkeypatch.setattr(explaining, "load", lambda model, options: loaded)

    return use_model


def grey(path: Path | str, value: int) -> str:
    Image.new("RGB", (8, 8), (value, value, value)).save(path)
    return str(path)


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


def test_settings_are_pairs() -> None:
    assert settings(["steps=32", "baseline = a=b.png", "some-thing=1"]) == {
        "steps": "32",
        "baseline": "a=b.png",
        "some_thing": "1",
    }


def test_json_has_what_was_found(use: Callable[[Any], None], capsys: pytest.CaptureFixture[str]) -> None:
    use(Linear())
    asked = ["explain", grey("a.png", 51), "--json", "--top", "1", "--smooth", "0", "--reduce", "sum"]
    assert main([*asked, "--method", "gradient", "--target", "top", "--target", "dark"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    light, dark = map(json.loads, captured.out.splitlines())
    scores = (51 / 255 * WEIGHTS).sum(axis=0)
    odds = math.exp(scores[1] - scores[0])
    assert light["target"] == {"index": 1, "label": "light"}
    assert light["score"] == pytest.approx(scores[1])
    assert light["top"] == [{"index": 1, "label": "light", "probability": pytest.approx(odds / (1 + odds))}]
    assert (light["image"], light["method"], light["layer"], light["random_state"]) == ("a.png", "gradient", None, 0)
    assert light["preprocessing"].startswith("resize=4x4,")
    assert dark["target"] == {"index": 0, "label": "dark"}
    assert dark["score"] == pytest.approx(scores[0])
    assert dark["files"] == {
        "picture": "sightline-out/a-gradient-dark.png",
        "arrays": "sightline-out/a-gradient-dark.npz",
    }
    again = sl.load_explanation(dark["files"]["arrays"])
    np.testing.assert_allclose(again.map[0], WEIGHTS[:, 0].reshape(4, 4, 3).sum(axis=-1), rtol=1e-6, atol=1e-6)
    with Image.open(dark["files"]["picture"]) as picture:
        assert picture.info["method"] == "gradient"  # the facts travel with the picture


def test_json_says_null_for_what_is_no_number(use: Callable[[Any], None], capsys: pytest.CaptureFixture[str]) -> None:
    class Broken(Linear):
        def run(self, x: Any, **options: Any) -> Trace:
            return super().run(x * np.nan, **options)

    use(Broken())
    assert main(["explain", grey("a.png", 51), "--json", "--method", "gradient", "--target", "0"]) == 0
    line = capsys.readouterr().out
    found = json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert found["score"] is None
    assert found["top"][0]["probability"] is None


def test_table_names_the_answer_and_the_files(use: Callable[[Any], None], capsys: pytest.CaptureFixture[str]) -> None:
    use(Linear())
    assert main(["explain", grey("a.png", 255), "--method", "gradient", "--out", "deep/er"]) == 0
    out = capsys.readouterr().out
    odds = math.exp(WEIGHTS[:, 1].sum() - WEIGHTS[:, 0].sum())
    assert out.startswith(f"a.png: light {odds / (1 + odds):.2f}, dark {1 / (1 + odds):.2f}\n")
    assert "deep/er/a-gradient-light.png" in out
    assert Path("deep/er/a-gradient-light.png").exists()


def test_colour_map_is_used(use: Callable[[Any], None]) -> None:
    use(Linear())
    image = grey("a.png", 255)
    for name in ("viridis", "jet"):
        assert main(["explain", image, "--method", "gradient", "--colormap", name, "--out", name]) == 0
    viridis, jet = (
        np.asarray(Image.open(f"{name}/a-gradient-light.png").convert("RGB")) for name in ("viridis", "jet")
    )
    top = (253, 231, 37)  # of viridis, as Matplotlib documents it
    assert (viridis == top).all(axis=-1).any()
    assert not (jet == top).all(axis=-1).any()


def test_bad_image_does_not_stop_the_rest(use: Callable[[Any], None], capsys: pytest.CaptureFixture[str]) -> None:
    use(Linear())
    Path("text.png").write_text("not a picture")
    names = ["none.png", grey("a.png", 10), "text.png", grey("b.png", 200)]
    assert main(["explain", *names, "--json", "--method", "gradient"]) == 1
    captured = capsys.readouterr()
    assert [json.loads(line)["image"] for line in captured.out.splitlines()] == ["a.png", "b.png"]
    errors = captured.err.splitlines()
    assert len(errors) == 4
    assert "none.png" in errors[0]
    assert "text.png" in errors[2]


def test_what_fails_after_a_success_is_the_images_fault(
    use: Callable[[Any], None], capsys: pytest.CaptureFixture[str]
) -> None:
    calls = iter([False, True, False])

    def fails() -> None:
        if next(calls):
            raise RuntimeError("too small")

    use(Linear(fails))
    names = [grey(f"{i}.png", 99) for i in range(3)]
    assert main(["explain", *names, "--json", "--method", "gradient"]) == 1
    captured = capsys.readouterr()
    assert [json.loads(line)["image"] for line in captured.out.splitlines()] == ["0.png", "2.png"]
    given, _ = captured.err.splitlines()
    assert given.startswith("1.png: ")
    assert "too small" in given


def test_mistake_in_the_request_stops_at_once(use: Callable[[Any], None], capsys: pytest.CaptureFixture[str]) -> None:
    use(Linear())
    assert main(["explain", grey("a.png", 1), grey("b.png", 2), "--method", "gradient", "--target", "lihgt"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines()[1] == "Did you mean 'light'?"


def test_fault_of_our_own_is_two_lines_and_a_traceback_only_with_debug(
    use: Callable[[Any], None], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    use(Linear())

    def fault(*_: Any, **__: Any) -> None:
        raise KeyError("lost")

    monkeypatch.setattr(sl, "explain", fault)
    assert main(["explain", grey("a.png", 1)]) == 2
    given, fix = two_lines(capsys)
    assert given == "KeyError: 'lost'"
    assert "--debug" in fix
    with pytest.raises(KeyError):
        main(["explain", "a.png", "--debug"])


def test_stopping_keeps_what_is_done(use: Callable[[Any], None], capsys: pytest.CaptureFixture[str]) -> None:
    calls = iter([False, False, True])

    def stops() -> None:
        if next(calls):
            raise KeyboardInterrupt

    use(Linear(stops))
    names = [grey(f"{i}.png", 99) for i in range(4)]
    assert main(["explain", *names, "--json", "--method", "gradient"]) == 130
    captured = capsys.readouterr()
    answers = [json.loads(line) for line in captured.out.splitlines()]
    assert [answer["image"] for answer in answers] == ["0.png", "1.png"]
    assert all(Path(file).exists() for answer in answers for file in answer["files"].values())
    assert captured.err == "Stopped: 2 of 4 images are done; files in sightline-out.\n"


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


def test_chatter_and_warnings_go_to_standard_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    loaded = sl.Loaded(Linear(lambda: print("chatter")), "Linear", size=(4, 4, 3))  # no preprocessing: a warning
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(explaining, "load", lambda model, options: loaded)
    assert main(["explain", grey("a.png", 9), "--json", "--method", "gradient"]) == 0
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 1
    assert json.loads(captured.out)["image"] == "a.png"
    notes = [line for line in captured.err.splitlines() if line != "chatter"]
    assert len(notes) == 1
    assert notes[0].startswith("note: Linear says nothing of its preprocessing")


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


def test_place_that_cannot_be_written_is_known_before_any_work(
    use: Callable[[Any], None], capsys: pytest.CaptureFixture[str]
) -> None:
    use(Linear())
    Path("taken").write_text("a file")
    assert main(["explain", grey("a.png", 1), "--out", "taken/in"]) == 2
    assert two_lines(capsys)[0].startswith("--out taken/in was given")


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


def test_same_stem_in_two_folders_gives_two_files(
    use: Callable[[Any], None], capsys: pytest.CaptureFixture[str]
) -> None:
    use(Linear())
    for folder in ("one", "two"):
        Path(folder).mkdir()
    names = [grey("one/a.png", 20), grey("two/a.png", 250)]
    assert main(["explain", *names, "--json", "--method", "gradient"]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [Path(answer["files"]["arrays"]).name for answer in answers] == [
        "a-gradient-light.npz",
        "a-gradient-light-2.npz",
    ]
    found = [sl.load_explanation(answer["files"]["arrays"]) for answer in answers]
    assert [e.facts()["image"] for e in found] == names
    assert found[0].score[0] == pytest.approx((20 / 255 * WEIGHTS[:, 1]).sum())


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
