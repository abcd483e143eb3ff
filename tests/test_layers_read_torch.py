"""Which layer a CAM takes of its own where a model reads only part of what its layers give: Hugging Face's, in small."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import timm
import torch
import transformers
from torch import nn

import sightline as sl
from sightline.layers import last_grid
from sightline.method import METHODS
from token_nets import SmallViT

FRAMEWORKS = ("torch",)
STAGES: dict[str, Any] = {"hidden_sizes": [8, 16], "depths": [1, 1]}
VIT: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
PATCHES: dict[str, Any] = VIT | {"image_size": 64, "patch_size": 16}
WINDOWS: dict[str, Any] = {"embed_dim": 8, "depths": [1, 1], "num_heads": [2, 2], "image_size": 64, "window_size": 4}
PYRAMID: dict[str, Any] = {"hidden_sizes": [8, 8, 16, 16], "depths": [1] * 4, "num_attention_heads": [1, 1, 2, 2]}
Net = tuple[str, dict[str, Any], str]  # a class, its configuration, the layer; each whole gives a pool, too
NETS: dict[str, Net] = {
    "resnet": ("ResNet", STAGES | {"embedding_size": 8}, "resnet.encoder"),
    "convnext": ("ConvNext", STAGES | {"num_stages": 2}, "convnext.encoder"),
    "mobilenet": ("MobileNetV2", {"depth_multiplier": 0.25}, "mobilenet_v2.conv_1x1"),
    "swin": ("Swin", WINDOWS, "swin.layernorm"),
    "swin v2": ("Swinv2", WINDOWS, "swinv2.layernorm"),
    "vit": ("ViT", PATCHES, "vit.layers.1.layernorm_before"),  # after it the class token alone is read
    "beit": ("Beit", PATCHES, "beit.layernorm"),  # which is read token by token, without that of the class
    "pvt": ("Pvt", PYRAMID | {"image_size": 64}, "pvt.encoder.block.3.0.layer_norm_1"),
}
of_each_net = pytest.mark.parametrize("name", NETS)


def image() -> torch.Tensor:
    return torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def livened(net: nn.Module) -> nn.Module:
    for p in net.parameters():
        p.data += 0.1 * torch.randn_like(p)
    return net.double().eval()


def of_hugging_face(name: str) -> nn.Module:
    torch.manual_seed(2)
    kind, sizes, _ = NETS[name]
    config = getattr(transformers, f"{kind}Config")(num_labels=5, **sizes)
    return livened(getattr(transformers, f"{kind}ForImageClassification")(config))


def by_hand(net: nn.Module, layer: str, target: int) -> np.ndarray:
    """Grad-CAM of a hooked copy: (height, width)."""
    kept: list[torch.Tensor] = []
    net = copy.deepcopy(net)

    def keep(module: nn.Module, given: Any, y: Any) -> None:
        kept.append(y if isinstance(y, torch.Tensor) else y[0])

    net.get_submodule(layer).register_forward_hook(keep)
    score = net(image()).logits[0, target]
    (gradient,) = torch.autograd.grad(score, kept[0])
    value, gradient = kept[0][0], gradient[0]
    if value.ndim == 2:  # tokens: those of the grid are the last
        side = int(len(value) ** 0.5)
        value, gradient = (t[-side * side :].T.reshape(-1, side, side) for t in (value.detach(), gradient))
    return (gradient.mean((1, 2), keepdim=True) * value).sum(0).clamp(min=0).detach().numpy()


@of_each_net
def test_the_last_layer_that_the_scores_read_is_taken(name: str) -> None:
    net = of_hugging_face(name)
    e = sl.explain(net, image(), method="grad-cam")
    assert e.layer == NETS[name][2]
    expected = by_hand(net, e.layer, e.target[0]["index"])
    assert expected.max() > 0
    np.testing.assert_allclose(e.attribution[0], expected, rtol=1e-5, atol=1e-6 * expected.max())


@pytest.mark.parametrize("method", ["recipro-cam", "eigen-cam", "ablation-cam"])
def test_methods_without_gradients_take_it_too(method: str) -> None:
    """They would see a map that is zero everywhere, or that says nothing of the class."""
    e = sl.explain(of_hugging_face("resnet"), image(), method=method)
    assert e.layer == "resnet.encoder"
    assert e.map.max() > 0


@pytest.mark.parametrize("method", ["grad-cam", "recipro-cam", "gradient"])
def test_a_layer_that_nothing_reads_is_refused_by_name(method: str) -> None:
    with pytest.raises(sl.LayerError, match="'resnet' was given; the scores do not hang on what it gives") as caught:
        sl.explain(of_hugging_face("resnet"), image(), method=method, layer="resnet")
    assert "'resnet.encoder'" in caught.value.fix


class Aside(nn.Module):
    """A classifier that also draws a picture, by many layers."""

    def __init__(self, drawn: int, shown: bool = True) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 6, 3, 2, 1), nn.ReLU())
        self.drawing = nn.Sequential(*(nn.Conv2d(6, 6, 3, padding=1) for _ in range(drawn)))
        self.head = nn.Linear(6, 5)
        if not shown:
            nn.init.zeros_(self.head.weight)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        features = self.trunk(x)
        return {"logits": self.head(features.mean((2, 3))), "drawn": self.drawing(features)}


@pytest.mark.parametrize("drawn", [1, 12])
def test_what_another_output_is_made_of_is_not_taken(drawn: int) -> None:
    torch.manual_seed(0)
    net = livened(Aside(drawn))
    assert sl.explain(net, image(), method="grad-cam").layer == "trunk"
    assert sl.explain(net, image(), method="grad-cam", output="drawn", target=sl.Region(2)).layer != "trunk"


def test_what_is_read_hangs_neither_on_the_image_nor_on_the_weights() -> None:
    """A gradient would be zero: behind a last layer of zeros, and before units that are off in the first image."""
    torch.manual_seed(0)
    net = Aside(1, shown=False).double().eval()
    net.trunk[2].bias.data.fill_(-9)
    black = torch.zeros_like(image())
    assert last_grid(sl.load(net).model.places(black)).name == "trunk"
    assert not sl.explain(net, black, method="grad-cam", layer="trunk.2").map.any()
    net.trunk[2].bias.data.fill_(9)
    nn.init.ones_(net.head.weight)
    assert sl.explain(net, image(), method="grad-cam", layer="trunk.2").map.any()


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224", "cait_xxs24_224"])
def test_queries_keys_and_values_are_no_map(name: str) -> None:
    torch.manual_seed(0)
    net = livened(timm.create_model(name, img_size=64, depth=2, embed_dim=16, num_heads=2, num_classes=5))
    layer = sl.explain(net, image(), method="grad-cam").layer
    assert layer == ("blocks_token_only.1.norm1" if "cait" in name else "blocks.1.norm1")


def test_attention_from_many_tokens_to_few_is_no_grid_and_cannot_be_followed() -> None:
    net = of_hugging_face("pvt")
    grids = {layer.grid for layer in sl.load(net).model.places(image()) if layer.grid and not layer.dead}
    assert grids == {(64, 64), (16, 16), (8, 8), (4, 4), (2, 2)}
    with pytest.raises(sl.ModelError, match="attends over 4, 5, 16, 64, 256 tokens"):
        sl.explain(net, image(), method="attention-rollout")


class Pooled(SmallViT):
    """Its tokens are gathered by five questions, and each is weighed by an expert of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.questions, self.router = nn.Parameter(torch.randn(1, 1, 5, 16)), nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        for block in self.blocks:
            tokens = block(tokens)
        experts = self.router(tokens).unflatten(1, (2, -1)).softmax(-1).flatten(1, 2)
        tokens = self.norm(tokens)[:, None] * experts.sum(-1)[:, None, :, None]
        return self.head(nn.functional.scaled_dot_product_attention(self.questions, tokens, tokens).mean((1, 2)))


def test_what_gathers_tokens_hinders_nobody_who_follows_them() -> None:
    torch.manual_seed(0)
    found = sl.explain(livened(Pooled()), image(), method="attention-rollout").attribution
    assert found.shape == (1, 8, 8)
    assert found.sum() == pytest.approx(1)
    assert np.ptp(found) > 0


@pytest.mark.parametrize("method", ["generic-attention", "transformer-attribution"])
def test_small_relevance_is_not_lost_beside_what_a_token_is_to_itself(method: str) -> None:
    """Where the score is of a mean, each token's own share is far above what attention gathers."""
    net = of_hugging_face("beit")
    for p in net.classifier.parameters():
        p.data *= 1e-6
    exact, found = (
        sl.explain(net.to(kind), image().to(kind), method=method, target=3).attribution
        for kind in (torch.float64, torch.float32)
    )
    assert 0 < exact.max() < 1e-6
    np.testing.assert_allclose(found, exact, rtol=1e-2, atol=1e-3 * exact.max())


def plain() -> nn.Sequential:
    torch.manual_seed(0)
    body = [nn.Conv2d(3, 4, 3, 2, 1, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 6, 3, 2, 1, bias=False)]
    return nn.Sequential(*body, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5)).double().eval()


@pytest.mark.parametrize("of", ["weight_norm", "spectral_norm", "orthogonal"])
@pytest.mark.parametrize("parts", [[3], [0, 3, 7]])
def test_what_makes_the_weights_of_a_layer_is_no_layer_itself(of: str, parts: list[int]) -> None:
    made = plain()
    for part in parts:
        getattr(nn.utils.parametrizations, of)(made[part])
    made.eval()
    net = plain()
    for part in parts:
        net[part].weight.data.copy_(made[part].weight.detach())
    known, expected = sl.load(made).model.places(image()), sl.load(net).model.places(image())
    assert [replace(layer, parameters=()) for layer in known] == [replace(layer, parameters=()) for layer in expected]
    names = {f"={name}" for name, _ in made.named_parameters()}
    assert {place for layer in known for place in layer.parameters} == names
    for method in ("grad-cam", "layer-fusion", "full-grad"):
        e, right = (sl.explain(each, image(), method=method, target=1) for each in (made, net))
        assert e.layer == right.layer == (None if method == "full-grad" else "4")
        np.testing.assert_allclose(e.attribution, right.attribution, rtol=1e-6, atol=1e-9 * right.attribution.max())
    assert sl.explain(made, image(), layer="4", target=1).map.max() > 0


def wide(images: int = 2) -> torch.Tensor:
    return torch.randn(images, 3, 48, 72, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def the_same_by_default(net: nn.Module, layers: str, method: str = "layer-fusion") -> None:
    """What a wrapper gives by default is what it gives with the stages named, in a batch and alone."""
    found = sl.explain(net, wide(), method=method, target=1)
    assert found.map.max() > 0
    for i in range(2):
        right = sl.explain(net, wide()[i : i + 1], method=method, target=1, layers=layers)
        np.testing.assert_allclose(found.attribution[i], right.attribution[0], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("method", ["layer-fusion", "refine-cam"])
def test_a_bias_of_places_that_all_images_share_is_no_map_of_an_image(method: str) -> None:
    torch.manual_seed(2)
    config = transformers.SwinConfig(num_labels=5, **WINDOWS | {"image_size": 48, "window_size": 3})
    net = livened(transformers.SwinForImageClassification(config))
    the_same_by_default(net, "swin.encoder.layers.0.blocks.0,swin.layernorm", method)


class Windows(nn.Module):
    """Its second layer sees the quarters of an image, one after the other; the mean of all is its score."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 4, 4), nn.Conv2d(4, 6, 3, padding=1)
        self.head = nn.Linear(6, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        quarters = self.first(x).relu().unflatten(2, (2, -1)).unflatten(4, (2, -1)).permute(0, 2, 4, 1, 3, 5)
        features = self.second(quarters.flatten(0, 2)).relu()
        return self.head(features.unflatten(0, (len(x), 4)).mean((1, 3, 4)))


def test_what_is_given_for_each_window_is_no_map_of_an_image() -> None:
    torch.manual_seed(0)
    assert sl.explain(livened(Windows()), wide(), method="grad-cam").layer == "first"


def test_a_weight_with_its_channels_last_tells_the_axis_of_the_channels() -> None:
    torch.manual_seed(2)
    config = transformers.ConvNextV2Config(num_labels=5, **STAGES | {"num_stages": 2})
    net = livened(transformers.ConvNextV2ForImageClassification(config))
    layer, kept = "convnextv2.encoder.stages.1.layers.0.grn", list[torch.Tensor]()
    found = sl.explain(net, wide(), method="layer-cam", target=3, layer=layer)
    net.get_submodule(layer).register_forward_hook(lambda m, given, y: kept.append(y))
    (gradient,) = torch.autograd.grad(net(wide()).logits[:, 3].sum(), kept[0])
    expected = (gradient.clamp(min=0) * kept[0].detach()).sum(-1).clamp(min=0).numpy()
    assert expected.shape == (2, 6, 9)
    np.testing.assert_allclose(found.attribution, expected, rtol=1e-5, atol=1e-7 * expected.max())
    net.get_submodule(layer)._forward_hooks.clear()
    the_same_by_default(net, "convnextv2.encoder.stages.1.downsampling_layer.0,convnextv2.encoder")


class Unfolded(nn.Module):
    """MobileViT's way: the cells of each two by two are laid beside those of all others, normalised, and put back."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.mixed = nn.Conv2d(3, 4, 4, 4), nn.GroupNorm(1, 4), nn.Conv2d(4, 4, 1)
        self.last, self.head = nn.Conv2d(4, 6, 3, (1, 2), 1), nn.Linear(6, 5)  # a stride of its own in each direction

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        cells = self.first(x).relu()
        high, wide = cells.shape[2] // 2, cells.shape[3] // 2
        parts = nn.functional.pixel_unshuffle(cells, 2).unflatten(1, (4, 4)).flatten(3)
        parts = parts + self.mixed(self.norm(parts))
        whole = nn.functional.pixel_shuffle(parts.flatten(1, 2).unflatten(2, (high, wide)), 2)
        return self.head(self.last(whole).relu().mean((2, 3)))


def test_cells_in_other_rows_are_no_map() -> None:
    torch.manual_seed(0)
    net = livened(Unfolded())
    known = {layer.name: layer for layer in sl.load(net).model.places(wide())}
    assert [name for name, layer in known.items() if not layer.dead and layer.grid] == ["", "first", "last"]
    assert known["last"].grid == (12, 9)
    the_same_by_default(net, "first,last")


class OneByOne(nn.Module):
    """It runs its net image by image, so that a layer's own call is about one of them."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.net(image[None]) for image in x])


AT_A_LAYER = [name for name, method in sorted(METHODS.items()) if "layer" in method.needs]


@pytest.mark.parametrize("method", [*AT_A_LAYER, "gradient", "integrated-gradients", "layer-fusion", "refine-cam"])
def test_a_layer_with_a_value_of_one_image_alone_is_no_map_of_two(method: str) -> None:
    layer: dict[str, Any] = {"layers" if method in ("layer-fusion", "refine-cam") else "layer": "net.4"}
    refused = r"^layer 'net.4' was given; it has 1 maps for 2 images\.\nGive the images one at a time"
    with pytest.raises(sl.LayerError, match=refused):
        sl.explain(OneByOne(plain()), wide(), method=method, target=1, **layer)


def test_one_at_a_time_it_is() -> None:
    for i in range(2):
        right = sl.explain(plain(), wide(), method="score-cam", target=1)
        found = sl.explain(OneByOne(plain()), wide()[i : i + 1], method="score-cam", target=1)
        np.testing.assert_allclose(found.attribution[0], right.attribution[i], rtol=1e-6)


class TokensFirst(SmallViT):
    """Its blocks are given tokens, images, channels; its last normalisation images first: all of them, or the class's."""

    def __init__(self, whole: bool) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 2, 32, activation="gelu", norm_first=True)
        self.encoder, self.whole = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), whole

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.first.expand(len(x), -1, -1), tokens], 1)
        tokens = self.encoder(tokens.transpose(0, 1)).transpose(0, 1)
        return self.head(self.norm(tokens)[:, 0] if self.whole else self.norm(tokens[:, 0]))


@pytest.mark.parametrize("method", ["grad-cam", "layer-cam", "recipro-cam"])
def test_tokens_of_which_the_class_alone_is_read_are_no_map_where_no_others_are_seen(method: str) -> None:
    torch.manual_seed(0)
    net = livened(TokensFirst(whole=True))
    assert not sl.explain(net, wide(), method=method, target=1, layer="norm").map.any()
    e = sl.explain(net, wide(), method=method, target=1)
    assert (e.layer, e.attribution.shape) == ("patches", (2, 6, 9))
    assert (e.map.max((1, 2)) > 0).all()


def test_attention_cannot_be_followed_where_no_layer_gives_the_tokens_at_its_end() -> None:
    torch.manual_seed(0)
    with pytest.raises(sl.ModelError, match=r"attends over 55 tokens .* no layer after that gives as many"):
        sl.explain(livened(TokensFirst(whole=False)), wide(), method="attention-rollout")
