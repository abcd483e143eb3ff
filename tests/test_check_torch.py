"""Sanity checks of nets of PyTorch: attention, what cannot be replaced, and what trained nets show."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import captum.metrics
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import sightline as sl
from nets import snapshot
from sightline.cli import main
from sightline.frameworks.torch import TorchModel
from sightline.metrics._nearby import noise_like
from sightline.randomised import Randomised, drawn, own_weights, parameters_of, stages_of
from sightline.worlds import find_world
from token_nets import SmallViT
from torch_nets import image

FRAMEWORKS = ("torch",)
SCALES = [find_world("fish-scales").draw(seed, size=96).image for seed in (1, 2)]


def vit() -> nn.Module:
    torch.manual_seed(0)
    return SmallViT().double().eval()


def test_every_weight_of_attention_is_random_in_the_end() -> None:
    """Quantus 0.6 leaves a quarter of a vision transformer's weights as they are: in_proj of each attention, tokens."""
    module = vit()
    adapted, x = TorchModel(module), image(n=1).repeat(1, 1, 4, 4)
    layers = parameters_of(adapted, x)
    own = own_weights(adapted, x, layers)
    assert set(own) == {f"={name}" for name, _ in module.named_parameters()}
    random = Randomised(adapted, drawn(own, 0), 4)
    found = random.run(x, at=list(own)).values
    for place, value in own.items():
        constant = float(value.std()) == 0  # biases and normalisations that are as they were made
        assert torch.equal(found[place], value) == constant, place
    assert any("in_proj" in place for place in own) and "=first" in own


def test_a_random_model_answers_as_a_module_with_these_weights() -> None:
    module, x = vit(), image(n=2).repeat(1, 1, 4, 4)
    adapted = TorchModel(module)
    weights = drawn(own_weights(adapted, x, parameters_of(adapted, x)), 0)
    before, other = snapshot(module), vit()
    other.load_state_dict({place[1:]: value for place, value in weights.items()})
    found = Randomised(adapted, weights, 4).run(x, at=[""], target=lambda outputs: outputs[:, 2])
    expected = TorchModel(other).run(x, at=[""], target=lambda outputs: outputs[:, 2])
    torch.testing.assert_close(found.outputs, expected.outputs, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found.grads[""], expected.grads[""], rtol=1e-12, atol=1e-12)
    assert not torch.allclose(found.outputs, adapted.run(x).outputs)
    assert snapshot(module) == before


def test_layers_come_in_the_order_of_the_pass() -> None:
    layers = parameters_of(TorchModel(vit()), image(n=1).repeat(1, 1, 4, 4))
    names = [name for name, _ in layers]
    assert names[:2] == ["", "patches"] and names[-2:] == ["norm", "head"]
    at = names.index("blocks.0.attention")
    assert names[at : at + 2] == ["blocks.0.attention", "blocks.0.attention.out_proj"]
    assert [stage.count for stage in stages_of(layers, 4, alone=False)] == [4, 8, 12, 16]


def test_a_weight_that_two_layers_share_is_drawn_once() -> None:
    module = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1), nn.Flatten(), nn.LazyLinear(2))
    module[1].weight = module[0].weight
    module(image(n=1).float())
    places = [place for _, places in parameters_of(TorchModel(module), image(n=1).float()) for place in places]
    assert places == ["=0.weight", "=0.bias", "=1.bias", "=3.weight", "=3.bias"]


def test_a_single_number_is_random_too() -> None:
    own = {"=scale": torch.tensor(4.0).double(), "=zeros": torch.zeros(3).double()}
    found = drawn(own, 0)
    assert found["=scale"] == pytest.approx(4 + 4 * np.random.default_rng([0, 0]).standard_normal())
    assert found["=scale"].shape == () and torch.equal(found["=zeros"], own["=zeros"])


def test_torchscript_is_refused() -> None:
    scripted = torch.jit.script(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2)).eval())
    with pytest.raises(sl.ModelError, match="TorchScript"):
        sl.check(scripted, image(n=1).float().numpy(), method="gradient")


def test_guided_backprop_hardly_changes_on_a_trained_net_and_others_do() -> None:
    guided, gradient, cam = sl.check(
        "world:fish-scales/rings", SCALES, method=["guided-backprop", "gradient", "grad-cam"], stages=2
    )
    assert guided.counts == (8, 15) and guided.alarm and guided.mean()[0] > 0.7
    assert "do not show what the model has learnt in these" in guided.sentence
    assert not gradient.alarm and gradient.mean()[0] < 0.5
    assert not cam.alarm and "they are the same everywhere then" in cam.sentence


def mobilenet(assets: Path) -> sl.Loaded:
    return sl.load(
        "torchvision:mobilenet_v2",
        weights=str(assets / "mobilenet_v2_torchvision.safetensors"),
        preprocess="resize=224,crop=224,mean=0.5,std=0.5",
        labels="imagenet",
    )


@pytest.mark.assets
def test_guided_backprop_hardly_changes_on_mobilenet(assets: Path) -> None:
    names = ["guided-backprop", "gradient", "grad-cam"]
    guided, *others = sl.check(mobilenet(assets), assets / "images" / "cat.png", method=names, stages=2)
    assert guided.counts == (53, 105) and guided.alarm and guided.mean()[0] > 0.7
    assert [other.alarm for other in others] == [False, False]
    assert max(other.mean()[0] for other in others) < 0.5


@pytest.mark.assets
def test_max_sensitivity_is_captums_of_the_same_draws(assets: Path) -> None:
    loaded, radius = mobilenet(assets), 0.02
    (found,) = sl.measure(
        loaded, assets / "images" / "cat.png", metric={"max-sensitivity": {"samples": 3}}, method="gradient", target=285
    )
    x = loaded.model.array(np.moveaxis(_input(assets / "images" / "cat.png"), -1, 0)[None])
    draws = iter(range(3))

    def perturb(images: torch.Tensor) -> torch.Tensor:
        return torch.cat([one[None] + noise_like(x, radius, 0, next(draws)) for one in images])

    theirs = captum.metrics.sensitivity_max(
        _maps_of(loaded), x, perturb_func=perturb, n_perturb_samples=3, max_examples_per_batch=1
    )
    assert found.values[0] == pytest.approx(float(theirs), rel=1e-4)


def _input(path: Path) -> np.ndarray:
    pre = sl.Preprocessing.parse("resize=224,crop=224,mean=0.5,std=0.5")
    from sightline.images import read

    return pre.apply(read(path))[0]


def _maps_of(loaded: sl.Loaded) -> Callable[..., Any]:
    """What Captum calls: a tuple for a tuple."""

    def maps(images: Any) -> Any:
        several = images[0] if isinstance(images, tuple) else images
        found: Any = sl.explain(loaded, several.detach(), method="gradient", target=285)
        return (torch.as_tensor(found.map),) if isinstance(images, tuple) else torch.as_tensor(found.map)

    return maps


def test_the_command_draws_tells_and_says_what_could_not_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(SCALES[0]).save("a.png")
    Path("b.png").write_text("no picture")
    asked = ["check", "world:fish-scales/rings", "a.png", "b.png", "--method", "edges", "--stages", "2"]
    assert main([*asked, "--json"]) == 1
    out, err = capsys.readouterr()
    (facts,) = [json.loads(line) for line in out.splitlines()]
    assert facts["alarm"] and facts["images"] == ["a.png"] and facts["counts"] == [8, 15]
    assert Path(facts["files"]["picture"]).is_file()
    assert err.splitlines()[0].startswith("b.png is not a picture")
    assert main([*asked[:3], "--method", "edges", "--stages", "1"]) == 0
    assert "ALARM: The maps of edges stay alike when the top 15 of 15 layers are random" in capsys.readouterr().out
    assert main([*asked[:3], "--mode", "both"]) == 2
