"""The command's regions, boxes and comparisons, and the specs of models that have them."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"  # what is not on this machine is missing at once

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from torchvision import models
from torchvision.models import segmentation
from torchvision.transforms._presets import ObjectDetection, SemanticSegmentation

import sightline as sl
from detectors import detr, segformer
from sightline.cli import main
from sightline.frameworks.torch.load import _preprocessing

FRAMEWORKS = ("torch",)
CODE = """
import torch
from torch import nn
from detectors import Finder, Linear

segmenter = Linear(torch.eye(3))
finder = Finder([[0, 0, 8, 8], [8, 8, 16, 16]], 16).float()
several = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
"""
PREPROCESS = "resize=16,crop=16"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, with a module of models, a picture that is red at the left and blue elsewhere, and a mask."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(Path(__file__).parent)])
    Path("aim_nets.py").write_text(CODE)
    picture = np.zeros((32, 48, 3), np.uint8)
    picture[:, :24, 0], picture[:, 24:, 2] = 250, 200
    Image.fromarray(picture).save("picture.png")
    Image.fromarray(picture[:, :, ::-1].copy()).save("swapped.png")
    mask = np.zeros((32, 48), np.uint8)
    mask[8:24, 28:36] = 255
    Image.fromarray(mask).save("mask.png")
    yield tmp_path
    sys.modules.pop("aim_nets", None)


def facts(capsys: pytest.CaptureFixture[str], *args: str) -> list[dict[str, Any]]:
    command = ["explain", "picture.png", "--method", "gradient", "--json", "--preprocess", PREPROCESS, *args]
    assert main(command) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_regions_by_the_model_and_by_a_mask(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (own,) = facts(capsys, "--model", "aim_nets:segmenter", "--target", "region:2")
    assert own["target"]["label"] == "class 2 where the model says so (32 cells)"
    assert own["score"] == pytest.approx(32 * 200 / 255, rel=0.02)  # where the colours meet they mix
    (given,) = facts(capsys, "--model", "aim_nets:segmenter", "--target", "region:2", "--mask", "mask.png")
    assert given["target"]["cells"] == 8  # 16 by 8 of 32 by 48 pixels, of which 32 by 32 are 8 by 8 cells
    assert given["score"] == pytest.approx(8 * 200 / 255, rel=0.01)
    assert given["target"]["region"] == "mask"
    assert (folder / given["files"]["picture"]).exists()


def test_a_box_a_likeness_and_a_head(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, named = facts(capsys, "--model", "aim_nets:finder", "--target", "box:0", "--target", "box:24,16,40,32:2")
    assert (first["target"]["index"], first["target"]["detection"]) == (0, [8, 0, 24, 16])
    assert (named["target"]["index"], named["target"]["iou"]) == (2, 1)
    assert named["explained"] == "IoU x probability of the class"
    (same,) = facts(capsys, "--model", "aim_nets:several", "--target", "similar:picture.png", "--head", "sigmoid")
    assert same["score"] == pytest.approx(1, abs=1e-6)
    (other,) = facts(capsys, "--model", "aim_nets:several", "--target", "similar:swapped.png")
    assert other["score"] < 0.99
    (e,) = facts(capsys, "--model", "aim_nets:several", "--target", "2", "--head", "sigmoid")
    assert e["top"][0]["probability"] == pytest.approx(1 / (1 + np.exp(-0.49)), abs=0.01)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--target", "2", "--mask", "mask.png"], "--mask mask.png was given without a region.\nSay of which class"),
        (["--target", "region:2", "--mask", "none.png"], "There is no file none.png.\n"),
        (["--target", "text:a cat"], "the text 'a cat' was given; aim_nets:segmenter has no side for texts"),
        (["--head", "hat"], "head='hat' was given.\nGive one of softmax, sigmoid, none"),
    ],
)
def test_two_lines_for_a_mistake(folder: Path, capsys: pytest.CaptureFixture[str], args: list[str], said: str) -> None:
    command = ["explain", "picture.png", "--model", "aim_nets:segmenter", "--method", "gradient"]
    command += ["--preprocess", PREPROCESS, *args]
    assert main(command) != 0
    assert said in capsys.readouterr().err


def test_segmentation_and_detection_of_torchvision_come_without_a_network() -> None:
    loaded = sl.load("torchvision:lraspp_mobilenet_v3_large", weights="random")
    assert loaded.labels[:2] == ("__background__", "aeroplane")
    assert isinstance(loaded.model.module, segmentation.LRASPP)
    found = sl.load("torchvision:fasterrcnn_mobilenet_v3_large_320_fpn", weights="random")
    assert (len(found.labels), found.labels[1]) == (91, "person")


def test_the_preprocessing_of_segmentation_and_detection() -> None:
    published = models.get_model_weights("fcn_resnet50").DEFAULT
    preset = published.transforms()
    assert isinstance(preset, SemanticSegmentation)
    pre = _preprocessing(published)
    picture = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    assert pre is not None
    ours = pre.apply(type("Picture", (), {"pixels": picture, "name": ""}))[0]
    expected = preset(Image.fromarray(picture))
    np.testing.assert_allclose(ours, expected.permute(1, 2, 0), atol=1e-5)
    detection = models.get_model_weights("fasterrcnn_resnet50_fpn").DEFAULT
    assert isinstance(detection.transforms(), ObjectDetection)
    pre = _preprocessing(detection)
    assert pre is not None
    ours = pre.apply(type("Picture", (), {"pixels": picture, "name": ""}))[0]
    np.testing.assert_allclose(ours, detection.transforms()(Image.fromarray(picture)).permute(1, 2, 0), atol=1e-6)


def saved(folder: Path, module: Any, processor: Any) -> str:
    names = {i: f"thing {i}" for i in range(module.config.num_labels)}
    module.config.id2label, module.config.label2id = names, {v: k for k, v in names.items()}
    module.float().save_pretrained(folder)
    processor.save_pretrained(folder)
    return f"hf:{folder}"


def test_a_folder_of_transformers_is_loaded_for_its_own_task(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    size = {"size": {"height": 64, "width": 64}}
    spec = saved(tmp_path / "s", segformer(), transformers.SegformerImageProcessor(**size))
    mask = np.ones((64, 64), bool)
    e = sl.explain(spec, picture, method="gradient", target=sl.Region("thing 3", mask))
    net = transformers.SegformerForSemanticSegmentation.from_pretrained(tmp_path / "s").eval()
    x = transformers.SegformerImageProcessor(**size)(picture, return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        assert e.score[0] == pytest.approx(float(net(x).logits[0, 3].sum()), rel=1e-4)

    spec = saved(
        tmp_path / "d", detr(), transformers.DetrImageProcessor(size={"shortest_edge": 64, "longest_edge": 90})
    )
    e = sl.explain(spec, picture, method="gradient", target="box:0:thing 2")
    with torch.no_grad():
        sure = transformers.DetrForObjectDetection.from_pretrained(tmp_path / "d").eval()(x).logits.softmax(-1)
    assert e.score[0] == pytest.approx(float(sure[0, :, 2].max()), rel=1e-4)
    assert e.target[0]["label"] == "thing 2, detection 0"
    assert e.notes == ("the processor's limit of 90 pixels for the longer side is not kept",)
