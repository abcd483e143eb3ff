"""The tutorials on PyTorch, against numbers worked out without sightline."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter
from skimage.data import chelsea
from torchvision import models, transforms

import sightline as sl
from sightline.pictures import read_metadata
from sightline.worlds import find_world, fish_scales_net

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
import t2_fish_age
import t4_torch_resnet50

FRAMEWORKS = ("torch",)
EXAMPLES = Path(__file__).parents[1] / "examples"
HALF = "resize=256,crop=224,mean=0.5,std=0.5"


def close(found: np.ndarray, expected: np.ndarray) -> None:
    """Equal but for ReLU gates that flip where float32 rounds otherwise."""
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.9999
    assert np.abs(found - expected).max() < 2e-2 * np.abs(expected).max()


def gradient_of(model: Any, x: torch.Tensor) -> tuple[int, np.ndarray]:
    """The top class, and the largest absolute gradient of its score over the channels, by autograd alone."""
    x = x[None].clone().requires_grad_()
    scores = model.eval()(x)[0]
    scores.max().backward()
    assert x.grad is not None
    return int(scores.argmax()), x.grad[0].abs().amax(dim=0).numpy()


def tutorial_input(image: Image.Image, mean: Any, std: Any) -> torch.Tensor:
    """What the original tutorial made of a picture."""
    steps = [transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor(), transforms.Normalize(mean, std)]
    return transforms.Compose(steps)(image)


@pytest.mark.assets
def test_t4_explains_the_cat_of_a_real_photograph_on_its_own_pixels(assets: Path, tmp_path: Path) -> None:
    weights, file = assets / "mobilenet_v2_torchvision.safetensors", assets / "images" / "cat.png"
    e = t4_torch_resnet50.main(str(file), str(tmp_path), str(weights), "torchvision:mobilenet_v2", HALF)
    from safetensors.torch import load_file

    model = models.mobilenet_v2()
    model.load_state_dict(load_file(weights))
    image = Image.open(file).convert("RGB")
    top, expected = gradient_of(model, tutorial_input(image, [0.5] * 3, [0.5] * 3))
    assert e.target == [{"index": 285, "label": "Egyptian cat"}] and top == 285
    close(e.map[0], expected)
    on_file(e.on_original(), e.map[0], image)


def on_file(found: np.ndarray, heat: np.ndarray, image: Image.Image) -> None:
    """Whether `found` is `heat` where Resize(256) and CenterCrop(224) had cut it from `image`, and zero around it."""
    short = min(image.size)
    width, height = (int(256 * side / short) for side in image.size)
    whole = np.zeros((height, width), np.float32)
    top, left = round((height - 224) / 2), round((width - 224) / 2)
    whole[top : top + 224, left : left + 224] = heat
    rows, columns = (np.arange(side) + 0.5 for side in image.size[::-1])
    y, x = rows * height / image.size[1], columns * width / image.size[0]
    inside = ((y > top + 2) & (y < top + 222))[:, None] & ((x > left + 2) & (x < left + 222))[None]
    outside = ((y < top - 2) | (y > top + 226))[:, None] | ((x < left - 2) | (x > left + 226))[None]
    assert found.shape == image.size[::-1] and not found[outside].any()
    resample = Image.Resampling.BILINEAR if short >= 256 else Image.Resampling.BOX
    expected = np.asarray(Image.fromarray(whole).resize(image.size, resample))
    np.testing.assert_allclose(found[inside], expected[inside], rtol=0, atol=1e-5 * heat.max())


def test_t4_runs_resnet50_without_weights_and_leaves_files_with_their_facts(tmp_path: Path) -> None:
    torch.manual_seed(0)
    e = t4_torch_resnet50.main(folder=str(tmp_path), weights="random")
    torch.manual_seed(0)
    x = tutorial_input(Image.fromarray(chelsea()), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    top, expected = gradient_of(models.resnet50(weights=None), x)
    assert e.target[0]["index"] == top
    assert np.corrcoef(e.map.ravel(), expected.ravel())[0, 1] > 0.99  # random weights: many gates are near zero
    on_file(e.on_original(), e.map[0], Image.fromarray(chelsea()))
    facts = read_metadata(tmp_path / "saliency.png")
    assert facts["method"] == "gradient" and f'"index": {top}' in facts["target"]
    again = sl.load_explanation(tmp_path / "saliency.npz")
    np.testing.assert_array_equal(again.map, e.map)


def test_t2_explains_the_predicted_age_also_where_it_is_wrong(tmp_path: Path) -> None:
    found = t2_fish_age.main(folder=str(tmp_path))
    seeds = t2_fish_age.RIGHT + t2_fish_age.WRONG
    drawings = [find_world(t2_fish_age.WORLD).draw(seed) for seed in seeds]
    said = [target["index"] + 1 for target in found[0].target]
    right = [age == drawing.age for age, drawing in zip(said, drawings)]
    assert right == [seed in t2_fish_age.RIGHT for seed in seeds]
    net = fish_scales_net()
    for i, drawing in enumerate(drawings):
        x = torch.tensor(drawing.image.transpose(2, 0, 1) / 127.5 - 1, dtype=torch.float32)
        top, sharp = gradient_of(net, x)
        assert said[i] == top + 1
        close(found[0].map[i], gaussian_filter(sharp, 1.5, mode="reflect"))
        assert read_metadata(tmp_path / f"{i}-gradient.png")["smooth"] == "1.5"
        assert read_metadata(tmp_path / f"{i}-grad-cam.png")["layer"] == "features"


def test_the_tutorials_are_scripts_of_an_image_and_a_folder(tmp_path: Path) -> None:
    image = tmp_path / "scale.png"
    Image.fromarray(find_world(t2_fish_age.WORLD).draw(7, size=200).image).save(image)
    command = [sys.executable, t2_fish_age.__file__, str(image), str(tmp_path / "out")]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said.startswith("8 rings:") and read_metadata(tmp_path / "out" / "0-gradient.png")["image"] == str(image)


def test_every_tutorial_is_short_and_says_what_the_original_got_wrong() -> None:
    scripts = sorted(EXAMPLES.glob("*.py"))
    assert [script.name[:2] for script in scripts] == ["t1", "t2", "t3", "t4"]
    for script in scripts:
        text = script.read_text(encoding="utf-8")
        assert len(text.splitlines()) < 25 and "The original " in text


def test_t2_does_not_explain_the_mean_of_all_ages_as_the_original_did() -> None:
    net, image = fish_scales_net(), find_world(t2_fish_age.WORLD).draw(t2_fish_age.WRONG[0]).image
    x = torch.tensor(image.transpose(2, 0, 1)[None] / 127.5 - 1, dtype=torch.float32, requires_grad=True)
    (slope,) = torch.autograd.grad(net(x).mean(), x)
    original = slope[0].abs().amax(dim=0).numpy()
    e = sl.explain(f"world:{t2_fish_age.WORLD}", image, method="gradient")
    assert np.corrcoef(e.map.ravel(), original.ravel())[0, 1] < 0.9
