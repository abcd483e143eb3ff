"""Objects found by the maps of real nets: scales of the shipped world, and photographs with masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import sightline as sl
from sightline.localization import box_of
from sightline.worlds import find_world

FRAMEWORKS = ("torch",)
WORLD = "fish-scales/rings"


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


def filled(box: tuple[int, int, int, int] | None, shape: tuple[int, ...]) -> np.ndarray:
    found = np.zeros(shape, bool)
    if box is not None:
        found[box[1] : box[3], box[0] : box[2]] = True
    return found


def test_the_scale_is_found_in_the_pictures_own_pixels() -> None:
    overlaps, boxes = [], []
    for seed in range(6):
        drawing = find_world(WORLD).draw(seed, size=160, neighbour=False)
        wide = np.concatenate([drawing.image, drawing.image[:, :40]], axis=1)  # so that a crop is taken
        e = sl.explain(f"world:{WORLD}", wide)
        assert isinstance(e, sl.Explanation)
        found = e.localize()
        assert found.mask.shape == wide.shape[:2]
        assert not found.mask[~e.geometries[0].seen()].any()
        true = np.pad(drawing.scale_mask, ((0, 0), (0, 40))) & e.geometries[0].seen()
        overlaps.append(overlap(found.mask, true))
        boxes.append(overlap(filled(found.box, true.shape), filled(box_of(true), true.shape)))
    assert np.median(overlaps) > 0.85
    assert np.median(boxes) > 0.85


def test_bad_quantiles_and_images_are_refused() -> None:
    e = sl.explain(f"world:{WORLD}", find_world(WORLD).draw(1).image)
    assert isinstance(e, sl.Explanation)
    for ends in ({"foreground": 1.0}, {"background": -0.1}, {"foreground": 0.2, "background": 0.3}):
        with pytest.raises(sl.MethodError, match="0 <= background <= foreground < 1"):
            e.localize(**ends)
    with pytest.raises(sl.InputError, match="image 1 was asked for"):
        e.localize(1)
    for state in (-1, 0.5, "x"):
        with pytest.raises(sl.MethodError, match=r"random_state=.* was given; expected a whole number of at least 0"):
            e.localize(random_state=state)  # type: ignore[arg-type]
    assert e.localize(random_state=2**40).facts()["random_state"] == 2**40


@pytest.mark.assets
@pytest.mark.parametrize(("name", "least"), [("samoyed", 0.55), ("bird", 0.5)])
def test_the_animal_is_found_in_photographs(assets: Path, name: str, least: float) -> None:
    weights = str(assets / "mobilenet_v2_torchvision.safetensors")
    net = sl.load("torchvision:mobilenet_v2", weights=weights, preprocess="resize=224,crop=224,mean=0.5,std=0.5")
    e = sl.explain(net, assets / "images" / f"{name}_with_mask.png")
    assert isinstance(e, sl.Explanation)
    found = e.localize()
    true = np.asarray(Image.open(assets / "images" / f"{name}_mask.png").convert("L")) > 127
    assert overlap(found.mask, true) > least
    assert overlap(filled(found.box, true.shape), filled(box_of(true), true.shape)) > least + 0.1
