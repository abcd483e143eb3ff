"""Specs of timm and of Hugging Face: the architecture, the preprocessing and the names that they carry."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # what is not on this machine is missing at once

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import transformers
from PIL import Image

import sightline as sl
from sightline.frameworks.torch.hubs import timm_preprocessing
from sightline.frameworks.torch.processors import carried, hf_preprocessing
from sightline.images import read

FRAMEWORKS = ("torch",)
PICTURE = np.random.default_rng(0).integers(0, 256, size=(300, 400, 3), dtype=np.uint8)
PICTURE = np.asarray(Image.fromarray(PICTURE[::20, ::20]).resize((400, 300), Image.Resampling.BICUBIC))


def ours(pre: sl.Preprocessing | None) -> np.ndarray:
    assert pre is not None
    return pre.apply(read(PICTURE))[0].transpose(2, 0, 1)


@pytest.mark.parametrize("name", ["resnet18.a1_in1k", "vit_small_patch16_224.augreg_in1k", "convnext_tiny.fb_in1k"])
def test_timms_preprocessing_is_what_timm_does(name: str) -> None:
    config = timm.data.resolve_model_data_config(timm.create_model(name, pretrained=False))
    expected = timm.data.create_transform(**config, is_training=False)(Image.fromarray(PICTURE)).numpy()
    np.testing.assert_allclose(ours(timm_preprocessing(config)), expected, atol=2e-6)


def test_a_timm_model_with_weights_from_a_file(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = timm.create_model("resnet10t.c3_in1k", pretrained=False).eval()
    torch.save(net.state_dict(), tmp_path / "weights.pth")
    loaded = sl.load("timm:resnet10t.c3_in1k", weights=str(tmp_path / "weights.pth"), preprocess="resize=64,crop=64")
    assert loaded.labels[285] == "Egyptian cat"
    e = sl.explain(loaded, PICTURE, method="grad-cam")
    with torch.no_grad():
        scores = net(torch.as_tensor(ours(loaded.preprocessing)[None].copy()))
    assert e.target[0]["index"] == int(scores.argmax())
    assert float(e.score[0]) == pytest.approx(float(scores.max()), rel=1e-4)
    assert e.model == "timm:resnet10t.c3_in1k"


@pytest.mark.parametrize(
    "name", ["deit_tiny_distilled_patch16_224", "vit_tiny_patch16_224", "swin_tiny_patch4_window7_224"]
)
def test_a_cam_of_timms_transformers_finds_their_grid(name: str) -> None:
    torch.manual_seed(0)
    loaded = sl.load(f"timm:{name}", weights="random", preprocess="resize=224,crop=224")
    layers = loaded.model.places(torch.randn(1, 3, 224, 224))
    assert max(layer.extra for layer in layers) == {"d": 2, "v": 1, "s": 0}[name[0]]
    e = sl.explain(loaded, PICTURE, method="grad-cam", target=3)
    assert e.attribution.shape == ((1, 7, 7) if name[0] == "s" else (1, 14, 14))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A small vision transformer in a folder, as transformers saves it."""
    folder = tmp_path_factory.mktemp("vit")
    names = {i: f"thing {i}" for i in range(4)}
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, image_size=48, patch_size=8,
        id2label=names, label2id={v: k for k, v in names.items()},
    )  # fmt: skip
    torch.manual_seed(0)
    net = transformers.ViTForImageClassification(config).eval()
    processor = transformers.ViTImageProcessor(
        size={"height": 48, "width": 48}, image_mean=[0.4] * 3, image_std=[0.3] * 3
    )
    net.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder, net, processor


def test_a_folder_of_transformers_carries_everything(saved: Any) -> None:
    folder, net, processor = saved
    loaded = sl.load(f"hf:{folder}")
    assert loaded.labels == ("thing 0", "thing 1", "thing 2", "thing 3")
    given = processor(Image.fromarray(PICTURE), return_tensors="pt")["pixel_values"]
    np.testing.assert_allclose(
        ours(loaded.preprocessing), given[0].numpy(), atol=0.02
    )  # a level of 255 by another filter
    e = sl.explain(loaded, PICTURE, method=["gradient", "grad-cam"], target="thing 2")
    assert isinstance(e, list)
    with torch.no_grad():
        score = net(torch.as_tensor(ours(loaded.preprocessing)[None].copy())).logits[0, 2]
    assert float(e[0].score[0]) == pytest.approx(float(score), abs=1e-5)
    assert e[1].attribution.shape == (1, 6, 6)
    assert e[1].attribution.max() > 0


def test_a_folder_that_was_saved_without_a_processor(saved: Any, tmp_path: Path) -> None:
    saved[1].save_pretrained(tmp_path)
    loaded = sl.load(f"hf:{tmp_path}", preprocess="resize=48x48,mean=0.4,std=0.3")
    expected = sl.explain(f"hf:{saved[0]}", PICTURE, method="gradient", target=2, preprocess=str(loaded.preprocessing))
    np.testing.assert_array_equal(sl.explain(loaded, PICTURE, method="gradient", target=2).map, expected.map)


@pytest.mark.parametrize(
    ("problem", "sums"), [("single_label_classification", True), ("multi_label_classification", False)]
)
def test_what_a_configuration_says_of_its_labels_counts(saved: Any, tmp_path: Path, problem: str, sums: bool) -> None:
    net = transformers.ViTForImageClassification(transformers.ViTConfig.from_pretrained(saved[0], problem_type=problem))
    net.eval().save_pretrained(tmp_path)
    loaded = sl.load(f"hf:{tmp_path}", preprocess="resize=48x48,mean=0.4,std=0.3")
    e = sl.explain(loaded, PICTURE, method="gradient", top=4)
    with torch.no_grad():
        logits = net(loaded.model.array(ours(loaded.preprocessing)[None].copy())).logits[0]
    own = logits.softmax(0) if sums else logits.sigmoid()
    assert [c["probability"] for c in e.top[0]] == pytest.approx(own.sort(descending=True).values.tolist(), abs=1e-5)


def test_a_text_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    vision = small | {"image_size": 16, "patch_size": 8}
    transformers.CLIPModel(transformers.CLIPConfig(text_config=small, vision_config=vision)).save_pretrained(tmp_path)
    loaded = sl.load(f"hf:{tmp_path}", preprocess="resize=16x16")
    with pytest.raises(sl.ModelError, match="it has no tokenizer"):
        sl.explain(loaded, PICTURE, method="gradient", target=sl.Similar(text="a cat"))


def test_an_image_processor_that_crops() -> None:
    config = {
        "do_resize": True,
        "size": {"shortest_edge": 256},
        "do_center_crop": True,
        "crop_size": {"height": 224, "width": 224},
        "do_rescale": True,
        "do_normalize": True,
        "image_mean": [0.5] * 3,
        "image_std": [0.25] * 3,
        "resample": 3,
    }
    expected = sl.Preprocessing(256, (224, 224), mean=(0.5,) * 3, std=(0.25,) * 3, interpolation="bicubic")
    assert hf_preprocessing(config) == expected
    assert hf_preprocessing(config | {"do_resize": False}) is None


PROCESSORS: list[tuple[str, dict[str, Any]]] = [
    ("ConvNext", {"size": {"shortest_edge": 224}}),  # that of ResNet and RegNet, too
    ("ConvNext", {"size": {"shortest_edge": 384}}),
    ("ConvNext", {"size": {"shortest_edge": 128}}),
    ("EfficientNet", {"resample": 0, "size": {"height": 224, "width": 224}}),
    ("EfficientNet", {"rescale_factor": 1 / 127.5, "rescale_offset": True, "include_top": False}),
    ("Levit", {}),
    ("PoolFormer", {}),
    ("MobileViT", {"size": {"shortest_edge": 288}}),
    ("MobileNetV2", {}),
    ("Bit", {}),
    ("CLIP", {}),
    ("ViT", {}),
    ("Detr", {}),
]
LIMIT = "the processor's limit of 1333 pixels for the longer side is not kept"


@pytest.mark.parametrize(("kind", "own"), PROCESSORS)
def test_what_an_image_processor_does(kind: str, own: dict[str, Any]) -> None:
    processor = getattr(transformers, f"{kind}ImageProcessor")(**own)
    given = processor(Image.fromarray(PICTURE), return_tensors="np")["pixel_values"][0]
    pre, notes = carried(processor)
    found = ours(pre)
    assert found.shape == given.shape
    assert np.abs(found - given).mean() < 0.02 * given.std()
    assert notes == (LIMIT,) * (kind == "Detr")


def test_an_image_processor_that_rounds_its_sizes() -> None:
    pre, notes = carried(transformers.YolosImageProcessor())
    assert pre == carried(transformers.DetrImageProcessor())[0]
    assert notes == (LIMIT, "YolosImageProcessor rounds sizes to a multiple, which is not kept")


@pytest.mark.parametrize(
    "kind", ["Donut", "BridgeTower", "GLPN", "Qwen2VL", "LlavaNext", "Vilt", "Cohere2Vision", "MaskFormer"]
)
def test_an_image_processor_that_does_something_else(kind: str) -> None:
    """It pads a picture to a square, say, or cuts it up: nothing is said rather than what is not so."""
    pre, (note,) = carried(getattr(transformers, f"{kind}ImageProcessor")())
    assert pre is None
    assert note.startswith(f"{kind}ImageProcessor does more to a picture than resize, crop, scale and normalise it")


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("timm:resnet10x", r"^timm:resnet10x was given; timm has no model of that name\.\nDid you mean 'resnet10t'\?"),
        (
            "timm:resnet10t.c3_in1k",
            r"^timm:resnet10t.c3_in1k was given; it could not be loaded: .*\n.*network.*--weights FILE",
        ),
        ("hf:nobody/nothing", r"^hf:nobody/nothing was given; it could not be loaded: .*\n.*network"),
    ],
)
def test_what_cannot_be_had(spec: str, said: str) -> None:
    with pytest.raises(sl.ModelError, match=said):
        sl.load(spec)
