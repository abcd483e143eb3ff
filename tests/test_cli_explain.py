"""`sightline explain` on a linear model in NumPy, whose answers are known: lines, files, failures, Ctrl-C."""

from __future__ import annotations

import json
import math
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import sightline as sl
from sightline.cli import explaining, main
from sightline.model import Edit, Layer, Rule, Target, Trace

FRAMEWORKS = ("none",)
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


def test_precision_is_for_models_of_a_framework(use: Callable[[Any], None], capsys: pytest.CaptureFixture[str]) -> None:
    use(Linear())
    asked = ["explain", grey("a.png", 51), "--method", "gradient", "--json"]
    assert main([*asked, "--precision", "bfloat16"]) == 2
    assert "precision= was given with a model with an adapter of its own" in capsys.readouterr().err
    assert main(asked) == 0
    told = json.loads(capsys.readouterr().out)
    assert [told[name] for name in ("device", "precision", "layout")] == [None] * 3


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


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_ctrl_c_while_something_is_freed_is_not_lost(
    use: Callable[[Any], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """Python drops what is raised while an object is freed, a KeyboardInterrupt too."""

    class Freed:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)

    class Busy(Linear):
        def run(self, x: Any, **options: Any) -> Trace:
            Freed()
            return super().run(x, **options)

    use(Busy())
    names = [grey(f"{i}.png", 10 * i) for i in range(4)]
    assert main(["explain", *names, "--json", "--method", "gradient"]) == 130
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 1
    assert captured.err.splitlines()[-1].startswith("Stopped: 1 of 4 images are done")


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
    given, fix = capsys.readouterr().err.splitlines()
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


def test_place_that_cannot_be_written_is_known_before_any_image(
    use: Callable[[Any], None], capsys: pytest.CaptureFixture[str]
) -> None:
    use(Linear())
    Path("taken").write_text("a file")
    assert main(["explain", grey("a.png", 1), "--out", "taken/in"]) == 2
    assert capsys.readouterr().err.startswith("--out taken/in was given")


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
