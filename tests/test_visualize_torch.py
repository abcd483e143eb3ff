"""Pictures that raise a score: where the best is known, on the shipped net, and by the command."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import sightline as sl
from sightline.cli import main
from sightline.pictures import plate, read_metadata

FRAMEWORKS = ("torch",)
WORLD = "world:fish-scales/rings"
PRE = "crop=8,mean=0.4/0.5/0.6,std=0.2/0.3/0.25"


class Linear(torch.nn.Module):
    """One score: the sum of the image, weighted."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(0)).double())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.weight * x).sum((1, 2, 3))[:, None] * torch.tensor([[1.0, -1.0, 0.5]], dtype=torch.float64)


@pytest.mark.parametrize(("space", "jitter"), [("pixels", 0), ("fourier", 0)])
def test_the_best_picture_of_a_linear_model_is_its_weights(space: Any, jitter: int) -> None:
    """Of w x - l2 mean((2p - 1)^2), with x = low + span p, the best is p = 1/2 + N span w / (8 l2)."""
    model = Linear()
    span = np.array([1 / 0.2, 1 / 0.3, 1 / 0.25])
    way = span * model.weight.detach().numpy().transpose(1, 2, 0)
    l2 = float(192 * np.abs(way).max() / (8 * 0.3))
    found = sl.visualize(model, 0, space=space, jitter=jitter, l2=l2, steps=400, rate=0.1, preprocess=PRE)
    assert isinstance(found, sl.Visualization)
    p = (found.x - np.array([-2, -5 / 3, -2.4])) / span
    np.testing.assert_allclose(p, 0.5 + 192 * way / (8 * l2), atol=2e-3)
    assert np.abs(p - 0.5).max() == pytest.approx(0.3, abs=2e-3)


def test_without_a_penalty_a_linear_model_drives_its_picture_to_black_and_white() -> None:
    model = Linear()
    found = sl.visualize(model, "1", space="pixels", decorrelate=False, steps=200, rate=0.3, jitter=0, preprocess=PRE)
    assert isinstance(found, sl.Visualization)
    bright = model.weight.detach().numpy().transpose(1, 2, 0) < 0  # of class 1 the weights are turned about
    np.testing.assert_array_equal(found.pixels, np.where(bright, 255, 0))


@pytest.mark.parametrize(
    ("target", "layer"), [("5 rings", None), ("7 - 0", None), ("3", "features.5"), ("all", "features.4")]
)
def test_the_score_rises_on_the_shipped_net(target: str, layer: str | None) -> None:
    found = sl.visualize(WORLD, target, layer=layer, steps=24)
    assert isinstance(found, sl.Visualization)
    assert found.pixels.shape == (96, 96, 3)
    assert found.score > found.scores[0] + 0.5 * abs(found.scores[0])
    assert found.layer == layer
    assert found.scores[-6:].mean() > found.scores[6:12].mean() > found.scores[:6].mean()


def test_a_class_is_recognised_in_its_own_picture() -> None:
    found = sl.visualize(WORLD, ["3 rings", "7 rings"], steps=40)
    assert isinstance(found, list)
    assert [v.top[0]["label"] for v in found] == ["3 rings", "7 rings"]
    again = sl.explain(WORLD, found[0].pixels)  # also after rounding to whole pixels
    assert isinstance(again, sl.Explanation)
    assert again.target[0]["label"] == "3 rings"


def test_variation_makes_smooth_pictures_and_size_is_the_users() -> None:
    rough, smooth = (sl.visualize(WORLD, 2, steps=20, variation=v, size=(64, 80)) for v in (0.0, 1e4))
    assert isinstance(rough, sl.Visualization) and isinstance(smooth, sl.Visualization)
    assert smooth.pixels.shape == (64, 80, 3)
    changes = [np.abs(np.diff(v.pixels.astype(float), axis=0)).mean() for v in (rough, smooth)]
    assert changes[1] < 0.7 * changes[0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_model_in_half_precision_is_climbed_like_itself_in_double(dtype: torch.dtype) -> None:
    """The slopes are far below what half precision can square."""

    class Faint(Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return ((self.weight * x).mean((1, 2, 3)) / 16)[:, None] * torch.ones(1, 2, dtype=x.dtype)

    options = {"steps": 40, "rate": 0.1, "jitter": 0, "preprocess": PRE}
    expected, found = sl.visualize(Faint(), 0, **options), sl.visualize(Faint().to(dtype), 0, **options)
    assert isinstance(expected, sl.Visualization) and isinstance(found, sl.Visualization)
    assert np.isfinite(found.x).all()
    apart = np.abs(found.pixels.astype(int) - expected.pixels.astype(int))
    assert np.quantile(apart, 0.9) <= 8  # of 255; a picture that was not climbed is 60 away
    assert found.score > found.scores[0] + 0.5 * (expected.score - expected.scores[0])


def test_a_picture_that_is_no_number_is_refused() -> None:
    class Broken(Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) * float("inf")

    with pytest.raises(sl.ModelError, match="became NaN or infinite"):
        sl.visualize(Broken(), 0, steps=2, preprocess=PRE)


def test_pixels_of_five_channels_are_shown_by_their_mean() -> None:
    image = np.zeros((200, 300, 5), np.uint8)
    image[..., 1:] = 100
    drawn = np.asarray(plate(image, title="t", facts=[], caption="c"))
    colours, counts = np.unique(drawn.reshape(-1, 3), axis=0, return_counts=True)
    assert counts[(colours == 80).all(axis=1)].sum() >= 200 * 300


def test_a_score_that_never_moves_is_said() -> None:
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 1), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(128, 2))
    torch.nn.init.constant_(model[0].bias, -100)
    found = sl.visualize(model, "1", layer="1", steps=3, preprocess=PRE)
    assert isinstance(found, sl.Visualization)
    assert any("never moved" in note for note in found.notes)
    assert not sl.visualize(model, "1", layer="0", steps=3, preprocess=PRE).notes  # type: ignore[union-attr]


def test_files_tell_how_it_was_made(tmp_path: Path) -> None:
    found = sl.visualize(WORLD, "2 rings", steps=3)
    assert isinstance(found, sl.Visualization)
    facts = found.facts()
    assert json.loads(found.save(tmp_path / "a.json").read_text()) == facts
    with np.load(found.save(tmp_path / "a.npz"), allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["x"], found.x)
        np.testing.assert_array_equal(arrays["scores"], found.scores)
        assert json.loads(str(arrays["facts"])) == facts
    told = read_metadata(found.save(tmp_path / "a.png"))
    assert json.loads(told["params"]) == facts["params"]
    with Image.open(tmp_path / "a.png") as picture:
        assert min(picture.size) > 400
    with pytest.raises(sl.InputError, match=r"\.gif"):
        found.save(tmp_path / "a.gif")
    grey = replace(found, pixels=found.pixels[..., :1])
    assert grey.picture().size == found.picture().size


def test_the_command_writes_a_line_of_json_for_each_target(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--steps", "3", "--out", str(tmp_path), "--random-state", "4", "--l2", "1"]
    assert main(["visualize", WORLD, "2 rings", "4", "--json", *options]) == 0
    captured = capsys.readouterr()
    lines = [json.loads(line) for line in captured.out.splitlines()]
    assert captured.err == ""
    assert [line["target"] for line in lines] == [{"index": 1, "label": "2 rings"}, {"index": 4, "label": "5 rings"}]
    expected = sl.visualize(WORLD, "2 rings", steps=3, random_state=4, l2=1.0)
    assert isinstance(expected, sl.Visualization)
    told = {name: value for name, value in lines[0].items() if name not in ("files", "seconds")}
    assert told == {name: value for name, value in expected.facts().items() if name != "seconds"}
    with np.load(lines[0]["files"]["arrays"]) as arrays:
        np.testing.assert_array_equal(arrays["pixels"], expected.pixels)
    assert all(Path(file).exists() for line in lines for file in line["files"].values())


def test_the_command_shows_a_channel_as_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layer = ["--layer", "features.4", "--size", "64", "--space", "pixels"]
    assert main(["visualize", WORLD, "9@1,2", *layer, "--steps", "2", "--out", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "channel 9 of features.4 at 1, 2" in out
    assert (tmp_path / "fish-scales_rings-channel_9_of_features.4_at_1_2.png").exists()


@pytest.mark.parametrize(
    ("arguments", "given", "fix"),
    [
        (["top"], "has no top class", "Name a class"),
        (["4 ring"], "class '4 ring' was given", "Did you mean '4 rings'?"),
        (["8"], "class 8 was given; the model has classes 0 to 7.", "Take one"),
        (["200", "--layer", "features.4"], "counted from 0.", "7@3,4"),
        (["1", "--layer", "feature.4"], "layer 'feature.4' was given", "Did you mean"),
        (["1", "--space", "furier"], "space='furier' was given", "Did you mean 'fourier'?"),
        (["1", "--steps", "0"], "Invalid value for '--steps'", "--help"),
        (["1", "--preprocess", "crop=7,std=0"], "std=(0.0,)", "Write it like"),
        (["1", "--preprocess", "crop=16,channels=1"], "failed on an input of shape (1, 1, 16, 16)", "channels"),
        ([], "Missing argument 'TARGET'", "--help"),
    ],
)
def test_mistakes_are_two_lines_and_status_2(
    arguments: list[str], given: str, fix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        main(
            [
                "visualize",
                WORLD,
                *arguments,
                "--out",
                str(tmp_path / "out"),
                *([] if "--steps" in arguments else ["--steps", "1"]),
            ]
        )
        == 2
    )
    captured = capsys.readouterr()
    said = captured.err.splitlines()
    assert captured.out == ""
    assert len(said) == 2
    assert given in said[0]
    assert fix in said[1]


@pytest.mark.parametrize("option", [{"steps": 0}, {"rate": -1}, {"jitter": 1.5}, {"size": "big"}, {"l2": float("nan")}])
def test_an_option_out_of_range_is_refused(option: dict[str, Any]) -> None:
    with pytest.raises(sl.MethodError, match=f"{next(iter(option))}="):
        sl.visualize(WORLD, 1, **option)


@pytest.mark.assets
def test_the_trained_net_recognises_the_macaw_that_it_was_asked_for(assets: Path) -> None:
    weights = str(assets / "mobilenet_v2_torchvision.safetensors")
    model = sl.load("torchvision:mobilenet_v2", weights=weights, preprocess="resize=224,crop=224,mean=0.5,std=0.5")
    found = sl.visualize(model, "macaw", steps=16, size=128)
    assert isinstance(found, sl.Visualization)
    assert found.top[0]["label"] == "macaw"
    assert found.score > found.scores[0] + 5
