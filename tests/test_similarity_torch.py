"""Likeness of an output or of a layer's value to a vector, a picture or a text: its cosine and the slope of that."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"  # what is not on this machine is missing at once

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from torch import nn

import sightline as sl
from detectors import clip

FRAMEWORKS = ("torch",)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, 3, 8, 8))
METHODS = ("gradient", "grad-cam", "integrated-gradients", "rise", "occlusion")
FEW: dict[str, dict[str, Any]] = {
    "integrated-gradients": {"steps": 2},
    "rise": {"samples": 4},
    "occlusion": {"window": 4, "stride": 4},
}


def net() -> Any:
    """A linear embedding of five numbers, by way of a linear layer with a grid."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 2, 2, bias=False), nn.Flatten(), nn.Linear(64, 5, bias=False)).double()


def matrix(module: Any, x: np.ndarray) -> np.ndarray:
    """The linear map (outputs, inputs) of a linear module."""
    units = torch.eye(x[0].size, dtype=torch.float64).reshape(-1, *x.shape[1:])
    with torch.no_grad():
        return module(units).flatten(1).numpy().T


def assert_is_cosine(e: sl.Explanation, a: np.ndarray, v: np.ndarray) -> None:
    """Of z = A x with v: z.v / |z||v|, and its gradient A' (v / |v| - cos z / |z|) / |z|."""
    u = v / np.linalg.norm(v)
    for i, x in enumerate(X):
        z = a @ x.ravel()
        length = np.linalg.norm(z)
        cosine = z @ u / length
        assert e.score[i] == pytest.approx(cosine, rel=1e-10, abs=1e-12)
        slope = (a.T @ (u - cosine * z / length) / length).reshape(x.shape).transpose(1, 2, 0)
        np.testing.assert_allclose(e.attribution[i], slope, rtol=1e-6, atol=1e-8)


def test_the_cosine_with_a_vector_and_its_slope() -> None:
    module, v = net(), RNG.normal(size=5)
    for given in (v, torch.as_tensor(v)):
        e = sl.explain(module, X, method="gradient", target=sl.Similar(given))
        assert_is_cosine(e, matrix(module, X), v)
        assert (
            e.target
            == [
                {
                    "index": None,
                    "label": "similar to a vector of 5 numbers",
                    "place": None,
                    "explained": "cosine similarity of the model's output",
                }
            ]
            * 3
        )
        assert e.top == [[]] * 3
        assert e.facts()["explained"] == "cosine similarity of the model's output"


def test_the_cosine_with_another_picture_preprocessed_as_the_images_are(tmp_path: Path) -> None:
    module = net()
    other = RNG.integers(0, 256, (16, 12, 3), dtype=np.uint8)
    Image.fromarray(other).save(tmp_path / "other.png")
    pre = sl.Preprocessing.parse("resize=8x8,mean=0.5,std=0.5")
    z = np.moveaxis(pre.apply(type("P", (), {"pixels": other, "name": ""}))[0], -1, 0).astype(np.float64)
    v = matrix(module, X) @ z.ravel()
    by_file, by_text, by_array = sl.explain(
        module,
        X,
        method="gradient",
        target=[sl.Similar(tmp_path / "other.png"), f"similar:{tmp_path / 'other.png'}", sl.Similar(z[None])],
        preprocess=pre,
    )
    for e in (by_file, by_text, by_array):
        assert_is_cosine(e, matrix(module, X), v)
    assert by_file.target[0]["label"] == by_text.target[0]["label"] == "similar to other.png"


@pytest.mark.parametrize("method", METHODS)
def test_the_value_at_a_layer(method: str) -> None:
    """Whatever comes after the layer has no say."""
    module, v = net(), RNG.normal(size=64)
    for last in (0.0, 1.0):
        module[2].weight.data *= last
        e = sl.explain(module, X, method=method, target=sl.Similar(v, place="0"), **FEW.get(method, {}))
        assert np.ptp(e.map, axis=(1, 2)).all()
        if method == "gradient":
            assert_is_cosine(e, matrix(module[0], X), v)
        assert e.target[0]["explained"] == "cosine similarity of the value at '0'"
        assert e.layer == ("0" if method == "grad-cam" else None)
    assert len(e.top[0]) == 5  # of a classifier, whose layer is looked at


def test_a_picture_s_own_value_at_a_layer_is_just_like_itself() -> None:
    e = sl.explain(net(), X[:1], method="rise", target=sl.Similar(X[:1], place="0"), samples=4)
    assert e.score[0] == pytest.approx(1, abs=1e-12)


def test_nothing_is_like_zeros() -> None:
    zeros = sl.explain(net(), X[:1] * 0, method="gradient", target=sl.Similar(np.ones(5)))
    assert zeros.score[0] == 0
    assert np.isfinite(zeros.map).all()
    e = sl.explain(net(), X[:1], method="gradient", target=sl.Similar(np.zeros(5)))
    assert e.score[0] == 0


@pytest.mark.parametrize(
    ("target", "options", "kind", "said"),
    [
        (
            sl.Similar(np.ones(4)),
            {},
            sl.TargetError,
            r"a vector of 4 numbers was given .*the model's has 5\.\n.*length",
        ),
        (sl.Similar(), {}, sl.TargetError, r"sl.Similar was given; expected .*\nGive one"),
        (sl.Similar(np.ones(5), text="cat"), {}, sl.TargetError, r"sl.Similar was given"),
        (sl.Similar(text="cat"), {}, sl.TargetError, r"the text 'cat' was given; Sequential has no side .*\n.*vector"),
        (sl.Similar(X), {}, sl.TargetError, r"3 pictures were given to compare with\.\nGive one"),
        (sl.Similar(X[:1], place="9"), {}, sl.LayerError, r"layer '9' was given"),
        (sl.Similar(np.ones(64), place="1"), {"layer": "2"}, sl.LayerError, r"it comes after '1', whose value"),
        (sl.Similar("nowhere.png"), {"preprocess": "resize=8"}, sl.InputError, r"no file nowhere.png"),
    ],
)
def test_what_cannot_be_compared(target: Any, options: Any, kind: Any, said: str) -> None:
    with pytest.raises(kind, match=said) as caught:
        sl.explain(net(), X, method="gradient", target=target, **options)
    assert str(caught.value).count("\n") == 1


def images(n: int) -> torch.Tensor:
    return torch.rand(n, 3, 32, 32, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


@pytest.mark.parametrize("method", METHODS)
def test_every_kind_of_method_on_clip(method: str) -> None:
    module, x, v = clip(), images(2).requires_grad_(), torch.as_tensor(RNG.normal(size=8))
    z = module.get_image_features(pixel_values=x).pooler_output
    score = torch.cosine_similarity(z, v[None])
    e = sl.explain(module, x.detach(), method=method, target=sl.Similar(v), **FEW.get(method, {}))
    np.testing.assert_allclose(e.score, score.detach(), rtol=1e-10)
    assert np.ptp(e.map, axis=(1, 2)).all()
    assert e.top == [[], []]
    if method == "gradient":
        (expected,) = torch.autograd.grad(score.sum(), [x])
        np.testing.assert_allclose(e.attribution, expected.permute(0, 2, 3, 1), rtol=1e-5, atol=1e-8)
    if method == "grad-cam":
        assert e.attribution.shape == (2, 4, 4)
        assert str(e.layer).startswith("vision_model.")


def test_the_pool_of_all_tokens_is_no_grid_for_a_cam() -> None:
    half = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {"vocab_size": 50, "max_position_embeddings": 16, "bos_token_id": 1, "eos_token_id": 2}
    torch.manual_seed(0)
    config = transformers.SiglipConfig(
        text_config=half | text, vision_config=half | {"image_size": 32, "patch_size": 8}
    )
    module = transformers.SiglipModel(config).double().eval()
    layers = {layer.name: layer.grid for layer in sl.load(module).model.places(images(1))}
    assert layers["vision_model.head.mlp"] is None
    e = sl.explain(module, images(1), method="grad-cam", target=sl.Similar(np.ones(16)))
    assert e.layer == "vision_model.post_layernorm"  # the whole gives its tokens too, and only their pool is read
    assert e.attribution.max() > 0
    assert e.attribution.shape == (1, 4, 4)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A small CLIP with an image processor and a tokenizer, in a folder."""
    folder, module = tmp_path_factory.mktemp("clip"), clip().float()
    size = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    tokens = [
        "<|startoftext|>",
        "<|endoftext|>",
        *"acdgot",
        "a</w>",
        "t</w>",
        "g</w>",
        "ca",
        "cat</w>",
        "do",
        "dog</w>",
    ]
    merges = [("c", "a"), ("ca", "t</w>"), ("d", "o"), ("do", "g</w>")]
    module.config.text_config.eos_token_id = 1
    module.config.architectures = ["CLIPModel"]
    module.save_pretrained(folder)
    transformers.CLIPImageProcessor(**size).save_pretrained(folder)
    vocab = {token: i for i, token in enumerate(tokens)}
    transformers.CLIPTokenizer(vocab, merges).save_pretrained(folder)
    return folder, module


def test_a_text_by_the_model_s_own_tokenizer(saved: Any) -> None:
    folder, _ = saved
    loaded = sl.load(f"hf:{folder}")
    module = transformers.CLIPModel.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    x = images(2).float()
    with torch.no_grad():
        z = module.get_image_features(pixel_values=x).pooler_output
        texts = [
            module.get_text_features(**tokenizer([t], return_tensors="pt")).pooler_output for t in ("a cat", "a dog")
        ]
    found = sl.explain(loaded, x, method="gradient", target=[sl.Similar(text="a cat"), "text:a dog"])
    for e, text, name in zip(found, texts, ("a cat", "a dog")):
        np.testing.assert_allclose(e.score, torch.cosine_similarity(z, text), rtol=1e-5)
        assert e.target[0]["label"] == f"similar to '{name}'"
        assert np.ptp(e.map) > 0
    assert abs(found[0].score - found[1].score).max() > 1e-4
    assert loaded.labels == ()


def test_an_embedding_is_not_taken_for_classes(saved: Any) -> None:
    e = sl.explain(f"hf:{saved[0]}", images(1).float(), method="gradient", target="up:3")
    assert (e.top, e.head) == ([[]], "")


CLASSES = nn.Sequential(nn.Flatten(), nn.Linear(192, 4)).double()
LABELS = ("cat", "dog", "sea", "sky")


@pytest.mark.parametrize("end", ["plain", "sigmoid"])
def test_a_multi_label_model_explains_each_class_by_its_own_score(end: str) -> None:
    module = CLASSES if end == "plain" else nn.Sequential(CLASSES, nn.Sigmoid())
    told = {"head": "sigmoid"} if end == "plain" else {}
    found = sl.explain(module, X, method="gradient", target=["sky", "cat", "top-2"], labels=LABELS, top=4, **told)
    with torch.no_grad():
        z = CLASSES(torch.as_tensor(X))
    weights = CLASSES[1].weight.detach().numpy().reshape(4, 3, 8, 8).transpose(0, 2, 3, 1)
    for e in found:
        index = [t["index"] for t in e.target]
        np.testing.assert_allclose(e.score, [float(z[i, c]) for i, c in enumerate(index)], rtol=1e-10)
        np.testing.assert_allclose(e.attribution, weights[index], rtol=1e-6)
        assert e.facts()["explained"] == "the score before the sigmoid"
        for i, ranks in enumerate(e.top):
            assert [r["index"] for r in ranks] == z[i].argsort(descending=True).tolist()
            np.testing.assert_allclose([r["probability"] for r in ranks], z[i].sigmoid().sort(descending=True).values)


def test_what_a_caller_tells_of_the_scores() -> None:
    plain = sl.explain(CLASSES, X, method="gradient", top=4)
    np.testing.assert_allclose([sum(r["probability"] for r in ranks) for ranks in plain.top], 1)
    none = sl.explain(sl.load(CLASSES, head="none"), X, method="gradient", target="up:2")
    assert (none.top, none.head) == ([[]] * 3, "")
    one = nn.Sequential(nn.Flatten(), nn.Linear(192, 1)).double()
    no, yes = sl.explain(one, X, method="gradient", target=[0, 1], head="sigmoid")
    np.testing.assert_allclose(no.score, -yes.score)
    again = sl.load(replace(sl.load(CLASSES)), head="sigmoid")
    assert again.head == "sigmoid"


@pytest.mark.parametrize(
    ("module", "head", "said"),
    [
        (CLASSES, "softplus", r"head='softplus' was given\.\nGive one of softmax, sigmoid, none"),
        (
            nn.Sequential(CLASSES, nn.Softmax(1)),
            "sigmoid",
            r"head='sigmoid' was given; the model ends in a softmax\.\n",
        ),
    ],
)
def test_a_head_that_is_not_so(module: Any, head: str, said: str) -> None:
    with pytest.raises(sl.ModelError, match=said):
        sl.explain(module, X, method="gradient", head=head)
