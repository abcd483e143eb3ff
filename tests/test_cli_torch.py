"""The command on PyTorch models: answers, bad input, what would run code, Ctrl-C, the demo."""

from __future__ import annotations

import json
import os
import pickle
import re
import signal
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import sightline as sl
from sightline.cli import main
from sightline.worlds import DEMO_SEED, DEMO_SIZE, find_world

FRAMEWORKS = ("torch",)
COMMAND = Path(sys.executable).with_name("sightline")
CODE = """
import torch
from torch import nn

print("a line that a library prints")
LABELS = ["Egyptian cat", "tabby", "tiger cat"]

def small(channels=3):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(channels, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    ).eval()

def grey():
    return small(1)

class Dictionary(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = small()

    def forward(self, x):
        return {"scores": self.net(x), "size": x.shape}
"""
PREPROCESS = "resize=16,crop=16,mean=0.5,std=0.25"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, with a module of models, names of classes and two pictures of different sizes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    Path("user_nets.py").write_text(CODE)
    Path("labels.txt").write_text("Egyptian cat\ntabby\ntiger cat\n")
    picture("good.png", (30, 20))
    picture("wide.jpg", (50, 20))
    yield tmp_path
    sys.modules.pop("user_nets", None)


def picture(name: str, size: tuple[int, int]) -> None:
    rng = np.random.default_rng(sum(size))
    Image.fromarray(rng.integers(0, 256, (*size[::-1], 3), np.uint8)).save(name)


def explain(*arguments: str, net: str = "small") -> int:
    common = ["--model", f"user_nets:{net}", "--preprocess", PREPROCESS, "--labels", "labels.txt"]
    return main(["explain", *arguments, *common])


def answers(captured: str) -> list[dict]:
    return [json.loads(line) for line in captured.splitlines()]


def scores_of(name: str) -> np.ndarray:
    """The scores of a picture by PyTorch and Pillow alone."""
    import user_nets

    with Image.open(name) as image:
        width, height = image.size
        scaled = image.resize((round(16 * width / height), 16), Image.Resampling.BILINEAR)
    left = round((scaled.width - 16) / 2)
    pixels = np.asarray(scaled)[:, left : left + 16] / 255
    x = torch.tensor((pixels - 0.5) / 0.25, dtype=torch.float32).permute(2, 0, 1)[None]
    with torch.no_grad():
        return user_nets.small()(x)[0].numpy()


def test_precision_is_used_and_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert explain("good.png", "--json", "--device", "cpu", "--precision", "bfloat16") == 0
    (answer,) = answers(capsys.readouterr().out)
    assert (answer["device"], answer["precision"], answer["layout"]) == ("cpu", "bfloat16", "channels_last")
    exact = scores_of("good.png").max()
    assert 0 < abs(answer["score"] - exact) < 0.02 * abs(exact) + 0.01
    assert explain("good.png", "--precision", "float8") == 2
    said = "precision='float8' was given for a model in float32; expected"
    assert capsys.readouterr().err.splitlines()[-2].startswith(said)


def test_scores_and_probabilities_are_the_models(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert explain("good.png", "wide.jpg", "--json") == 0
    captured = capsys.readouterr()
    assert captured.err == "a line that a library prints\n"
    found = answers(captured.out)
    assert [answer["image"] for answer in found] == ["good.png", "wide.jpg"]
    for answer in found:
        scores = scores_of(answer["image"])
        best = int(scores.argmax())
        odds = np.exp(scores) / np.exp(scores).sum()
        assert answer["target"] == {"index": best, "label": ["Egyptian cat", "tabby", "tiger cat"][best]}
        assert answer["score"] == pytest.approx(scores[best], rel=1e-5)
        assert [t["index"] for t in answer["top"]] == list(np.argsort(-scores))
        assert [t["probability"] for t in answer["top"]] == pytest.approx(sorted(odds, reverse=True), rel=1e-5)
        assert (answer["model"], answer["method"], answer["layer"]) == ("user_nets:small", "grad-cam", "1")
        assert sl.load_explanation(answer["files"]["arrays"]).map.shape == (1, 16, 16)
        with Image.open(answer["files"]["picture"]) as shown:
            assert json.loads(shown.info["top"]) == answer["top"]


def test_a_line_for_each_method_and_target(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    methods = ["--method", "gradient", "--method", "integrated-gradients", "--set", "steps=4"]
    targets = ["--target", "tabby", "--target", "Egyptian cat - tabby", "--target", "top-2"]
    assert explain("good.png", "--json", *methods, *targets) == 0
    found, scores = answers(capsys.readouterr().out), scores_of("good.png")
    first, second = np.argsort(-scores)[:2]
    wanted = [scores[1], scores[0] - scores[1], scores[first], scores[second]]
    assert [answer["method"] for answer in found] == ["gradient"] * 4 + ["integrated-gradients"] * 4
    assert [answer["score"] for answer in found] == pytest.approx([*wanted, *wanted], rel=1e-4)
    assert [answer["params"] for answer in found[::4]] == [
        {},
        {"baseline": "black", "steps": 4, "tolerance": None},
    ]
    assert len({answer["files"]["arrays"] for answer in found}) == 8
    assert all(Path(answer["files"]["arrays"]).exists() for answer in found)


def bomb() -> bytes:
    """A whole PNG of 60,000 x 60,000 black pixels in a few kilobytes: its header alone is read."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes(60_001 * 100))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


BAD = ("missing.png", "truncated.png", "empty.png", "bomb.png", "text.png", "nan.tiff", "http://a/b.png")


@pytest.mark.parametrize("bad", BAD)
def test_bad_image_is_two_lines_and_the_good_one_is_done(
    bad: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = Path("good.png").read_bytes()
    contents = {"truncated.png": whole[: len(whole) // 2], "empty.png": b"", "bomb.png": bomb(), "text.png": b"hello"}
    if bad in contents:
        Path(bad).write_bytes(contents[bad])
    Image.fromarray(np.full((20, 20), np.nan, np.float32)).save("nan.tiff")
    assert explain(bad, "good.png", "--json") == 1
    captured = capsys.readouterr()
    assert [answer["image"] for answer in answers(captured.out)] == ["good.png"]
    _, given, fix = captured.err.splitlines()  # the first is what the module printed
    assert bad in given
    assert fix


@pytest.mark.parametrize(
    ("arguments", "net", "given", "fix"),
    [
        (["--layer", "4"], "small", "layer '4' was given; its output of shape (3,)", "such as '1'"),
        (["--layer", "conv"], "small", "layer 'conv' was given", "`sightline layers MODEL`"),
        (["--target", "taby"], "small", "class 'taby' was given", "Did you mean 'tabby'?"),
        (["--target", "3"], "small", "class 3 was given; the model has classes 0 to 2.", "Take one"),
        (["--method", "gradcam"], "small", "method 'gradcam' was given", "Did you mean 'grad-cam'?"),
        (["--method", "occlusion", "--set", "windw=3"], "small", "option 'windw' was given", "Did you mean 'window'?"),
        (["--method", "occlusion", "--set", "window=0"], "small", "window='0' was given", "`sightline methods`"),
        (["--reduce", "l3"], "small", "reduce='l3' was given", "l"),
        (["--labels", "none.txt"], "small", "labels 'none.txt' were given", "a name a line"),
        (["--preprocess", "resise=16"], "small", "the key 'resise'", "Did you mean 'resize'?"),
        ([], "grey", "failed on an input of shape (1, 3, 16, 16)", "channels"),
        ([], "Dictionary", "the model returned a dictionary with 'scores', 'size'", "output='logits'"),
        ([], "smal", "user_nets:smal was given", "Check both names."),
        (["--weights", "none.pth"], "small", "weights 'none.pth' were given", "Check the path."),
    ],
)
def test_mistake_in_the_request_is_two_lines_and_status_2(
    arguments: list[str], net: str, given: str, fix: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["--model", f"user_nets:{net}", "--preprocess", PREPROCESS, "--labels", "labels.txt"]
    assert (
        main(["explain", "good.png", "wide.jpg", *common, *arguments]) == 2
    )  # of an option given twice the last counts
    captured = capsys.readouterr()
    said = [line for line in captured.err.splitlines() if line != "a line that a library prints"]
    assert len(said) == 2
    assert given in said[0]
    assert fix in said[1]
    assert captured.out == ""
    assert not list(folder.glob("sightline-out/*"))


def test_output_of_a_dictionary_can_be_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert explain("good.png", "--json", "--output", "scores", net="Dictionary") == 0
    assert answers(capsys.readouterr().out)[0]["score"] == pytest.approx(scores_of("good.png").max(), rel=1e-5)


class RunsCode:
    def __reduce__(self) -> tuple:
        return Path.touch, (Path("it-ran"),)


def test_pickle_that_would_run_code_does_not(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"weight": RunsCode()}, "zipped.pth")
    Path("plain.pth").write_bytes(pickle.dumps(RunsCode()))
    for name in ("zipped.pth", "plain.pth"):
        assert explain("good.png", "--weights", name) == 2
        given, fix = capsys.readouterr().err.splitlines()[-2:]
        assert name in given
        assert "code" in given
        assert "--trust" in fix
        assert not Path("it-ran").exists()


def test_ctrl_c_keeps_what_is_done(folder: Path) -> None:
    for i in range(40):
        picture(f"{i:02}.png", (20, 20))
    slow = ["--method", "smoothgrad", "--set", "samples=2000", "--preprocess", PREPROCESS]
    names = [f"{i:02}.png" for i in range(40)]
    run = subprocess.Popen(
        [COMMAND, "explain", *names, "--json", "--model", "user_nets:small", *slow],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert run.stdout is not None
    first = run.stdout.readline()
    run.send_signal(signal.SIGINT)
    rest, errors = run.communicate(timeout=120)
    done = answers(first + rest)
    assert run.returncode == 130
    assert 1 <= len(done) < 40
    assert errors.splitlines()[-1] == f"Stopped: {len(done)} of 40 images are done; files in sightline-out."
    assert "Traceback" not in errors
    assert all(Path(file).exists() for answer in done for file in answer["files"].values())
    assert not list(Path("sightline-out").glob(".*"))  # nothing half written


def test_layers_marks_what_a_cam_takes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["layers", "user_nets:small", "--preprocess", PREPROCESS]) == 0
    rows = [re.split(r"\s{2,}", line.strip()) for line in capsys.readouterr().out.splitlines()]
    assert rows == [
        ["name", "kind", "output", "grid", "default"],
        ["(the image)", "input", "3 x 16 x 16", "16 x 16"],
        ["0", "conv2d", "4 x 14 x 14", "14 x 14"],
        ["1", "relu", "4 x 14 x 14", "14 x 14", "CAM"],
        ["2", "adaptiveavgpool2d", "4 x 1 x 1"],
        ["3", "flatten", "4"],
        ["4", "linear", "3"],
    ]


def test_labels_are_an_index_and_a_name_a_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["labels", "torchvision:resnet18", "--weights", "random"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1000
    assert lines[285] == "285\tEgyptian cat"
    assert main(["labels", "user_nets:small"]) == 2
    assert "does not name its classes" in capsys.readouterr().err


def test_demo_says_what_is_true(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--out", "shown"]) == 0
    out = capsys.readouterr().out
    drawing = find_world("fish-scales/rings").draw(DEMO_SEED, size=DEMO_SIZE)
    assert f"The fish is {drawing.age} years old" in out
    assert f"The model says {drawing.age} rings" in out
    with Image.open("shown/fish-scale.png") as image:
        np.testing.assert_array_equal(np.asarray(image), drawing.image)
    e = sl.explain("world:fish-scales/rings", "shown/fish-scale.png", method="guided-backprop")
    assert isinstance(e, sl.Explanation)
    heat = np.abs(e.on_original())
    share = heat[drawing.mask].sum() / heat.sum()
    row = next(line.split() for line in out.splitlines() if line.strip().startswith("guided-backprop"))
    assert row[1] == f"{share:.0%}"
    for name in (row[2], "shown/fish-scale-occlusion.png", "shown/fish-scale-all.png"):
        with Image.open(name) as image:
            assert min(image.size) > 300


@pytest.mark.assets
def test_real_weights_see_the_cat(assets: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = str(assets / "mobilenet_v2_torchvision.safetensors")
    model = ["--model", "torchvision:mobilenet_v2", "--weights", weights, "--labels", "imagenet"]
    how = ["--preprocess", "resize=224,crop=224,mean=0.5,std=0.5"]
    assert main(["explain", str(assets / "images" / "cat.png"), *model, *how, "--json", "--top", "2"]) == 0
    captured = capsys.readouterr()
    (answer,) = answers(captured.out)
    assert captured.err == ""
    assert answer["target"] == {"index": 285, "label": "Egyptian cat"}
    assert answer["top"][0]["probability"] == pytest.approx(0.61, abs=0.05)
    assert answer["top"][0]["index"] == 285
    assert len(answer["top"]) == 2
