"""Methods of attention on the transformers of torchvision, timm and Hugging Face, in small; what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torchcam.methods
import torchvision
from torch import nn
from transformers import ViTConfig, ViTForImageClassification

import sightline as sl
from sightline.frameworks.torch import TorchModel
from sightline.method import METHODS
from sightline.model import Target
from token_nets import SmallViT

FRAMEWORKS = ("torch",)
NAMES = [name for name in sorted(METHODS) if "attention" in METHODS[name].needs]
SMALL = {"img_size": 64, "depth": 2, "embed_dim": 16, "num_heads": 2, "num_classes": 5}
every_method = pytest.mark.parametrize("name", NAMES)


def image() -> torch.Tensor:
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def third(outputs: torch.Tensor) -> torch.Tensor:
    return outputs.T[2:3]


def livened(make: Callable[..., nn.Module], *args: Any, **options: Any) -> nn.Module:
    """A net with weights large enough that attention is far from even, also where the library begins with zeros."""
    torch.manual_seed(1)
    net = make(*args, **options)
    for p in net.parameters():
        p.data += 0.3 * torch.randn_like(p)
    return net.double().eval()


def in_torchvision() -> nn.Module:
    return livened(torchvision.models.VisionTransformer, 64, 16, 2, 2, 16, 32, num_classes=5)


def in_timm(name: str = "vit_tiny_patch16_224", **options: Any) -> nn.Module:
    return livened(timm.create_model, name, **SMALL, **options)


def in_transformers(attention: str) -> nn.Module:
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = ViTConfig(**sizes, image_size=64, patch_size=16, num_labels=5, attn_implementation=attention)
    return livened(ViTForImageClassification, config)


def attribute(net: nn.Module, name: str, **options: Any) -> torch.Tensor:
    return METHODS[name].attribute(TorchModel(net, **options), image(), Target(third))[0]


@every_method
def test_fused_and_explicit_attention_give_the_same_map(name: str) -> None:
    net = in_timm()
    found = attribute(net, name)
    for block in net.blocks:
        block.attn.fused_attn = False
    torch.testing.assert_close(found, attribute(net, name), rtol=0, atol=1e-10 * found.abs().max().item())


@every_method
def test_attention_of_transformers_by_name_of_its_implementation(name: str) -> None:
    """Its "eager" one takes the softmax in single precision whatever the model's."""
    found, expected = (attribute(in_transformers(form), name, output="logits") for form in ("sdpa", "eager"))
    assert found.shape == (1, 2, 4, 4)
    assert found.abs().max() > 1e-4
    torch.testing.assert_close(found, expected.double(), rtol=0, atol=1e-5 * expected.abs().max().item())


@every_method
@pytest.mark.parametrize(
    "make", [in_torchvision, lambda: in_timm(global_pool="avg"), lambda: in_timm("beit_base_patch16_224")]
)
def test_maps_of_other_transformers_lie_on_their_grid(make: Callable[[], nn.Module], name: str) -> None:
    found = attribute(make(), name)
    assert found.shape == (1, 2, 4, 4)
    assert found.min() >= 0 and found.isfinite().all()
    assert (found.amax((2, 3)) > 1.001 * found.amin((2, 3))).all()


@pytest.mark.parametrize(
    ("make", "extra", "read"),
    [
        (in_timm, 1, [0]),
        (lambda: in_timm("deit_tiny_distilled_patch16_224"), 2, [0, 1]),
        (lambda: in_timm(global_pool="avg"), 1, list(range(1, 17))),
        (lambda: in_timm(reg_tokens=3), 4, [0]),
    ],
)
def test_the_rows_are_those_of_the_tokens_that_the_score_reads(
    make: Callable[[], nn.Module], extra: int, read: list[int]
) -> None:
    net = make()
    values = TorchModel(net).run(image(), at=[f"blocks.{i}.attn#attention" for i in range(2)]).values.values()
    first, second = ((a.mean(1) + torch.eye(16 + extra)) / 2 for a in values)
    expected = (second @ first)[:, read, extra:].mean(1).reshape(1, 2, 4, 4)
    torch.testing.assert_close(attribute(net, "attention-rollout"), expected, rtol=0, atol=1e-12)


def test_even_attention_rolls_out_evenly() -> None:
    net = livened(SmallViT, registers=2)
    for block in net.blocks:
        block.attention.in_proj_weight.data[:16] = 0  # queries
        block.attention.in_proj_bias.data[:16] = 0
    found = attribute(net, "attention-rollout")
    half = 0.5 / 66  # 64 cells and two more tokens; a block hands up half of what it takes in
    torch.testing.assert_close(found, torch.full_like(found, 0.5 * half + half), rtol=0, atol=1e-12)


def windows() -> nn.Module:
    return torchvision.models.SwinTransformer([4, 4], 16, [1, 1], [1, 1], [4, 4], num_classes=5).double().eval()


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "windows": (windows, "'features.1.0.attn#attention' attends within each of 16 windows"),
    "no attention": (
        lambda: nn.Sequential(nn.Conv2d(3, 5, 8), nn.AdaptiveAvgPool2d(1), nn.Flatten()).double(),
        "no attention",
    ),
    "of channels": (
        lambda: timm.create_model("xcit_nano_12_p16_224", img_size=64, depth=1).double(),
        "attends over 32 tokens",
    ),
}


@every_method
@pytest.mark.parametrize("why", REFUSED)
def test_a_model_that_a_method_cannot_follow_is_refused(why: str, name: str) -> None:
    make, said = REFUSED[why]
    with pytest.raises(sl.ModelError, match=said) as caught:
        sl.explain(make(), image(), method=name)
    assert len(str(caught.value).splitlines()) == 2
    assert "integrated-gradients" in caught.value.fix


def test_other_refusals() -> None:
    net = SmallViT().double()
    with pytest.raises(sl.LayerError, match="goes through the attention of all layers"):
        sl.explain(net, image(), method="legrad", layer="blocks.1")
    with pytest.raises(sl.LayerError, match="has no height and width"):
        sl.explain(net, image(), method="grad-cam", layer="blocks.1.attention#attention")

    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = SmallViT()
            self.attention = self.net.blocks[0].attention

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            t = self.net.patches(x).flatten(2).transpose(1, 2)
            for _ in range(2):
                t = self.net.norm(t + self.attention(t, t, t)[0])
            return self.net.head(t.mean(1))

    flat = Flat().double()
    assert np.ptp(sl.explain(flat, image(), method="generic-attention").attribution) > 0
    with pytest.raises(sl.ModelError, match=r"no layer around .* is a block of its own"):
        sl.explain(flat, image(), method="legrad")


def test_legrad_equals_torchcams_summed_instead_of_averaged() -> None:
    net, x = in_torchvision(), image()
    with torchcam.methods.LeGrad(net, [f"encoder.layers.encoder_layer_{i}" for i in range(2)]) as theirs:
        scores = net(x)
        (expected,) = theirs([2, 2], scores, normalized=False)
    found = attribute(net, "legrad")[0]
    torch.testing.assert_close(found, 2 * expected.double(), rtol=0, atol=1e-6 * found.max().item())
