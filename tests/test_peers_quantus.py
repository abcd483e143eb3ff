"""The same numbers as Quantus' and PAIR's metrics on a photograph and a trained net, given the same perturbations."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import sightline as sl
from conftest import ASSETS
from sightline.metrics._information import SHARES, size_in_bytes

FRAMEWORKS = ("torch",)
SIDE = 100  # a share of 0.005 of its pixels is a whole number of them
pytestmark = pytest.mark.assets


@pytest.fixture(scope="module")
def quantus() -> Iterator[Any]:
    """Quantus, which loads TensorFlow too where it is installed: not beside PyTorch in one process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "tensorflow", None)
        import quantus

        yield quantus


@pytest.fixture(scope="module")
def trained() -> sl.Loaded:
    return sl.load(
        "torchvision:mobilenet_v2",
        weights=str(ASSETS / "mobilenet_v2_torchvision.safetensors"),
        preprocess=f"resize={SIDE},crop={SIDE},mean=0.5,std=0.5",
    )


def picture(name: str, mode: str = "RGB") -> np.ndarray:
    image = Image.open(ASSETS / "images" / name).convert(mode)
    return np.array(image.resize((SIDE, SIDE), Image.Resampling.NEAREST if mode == "L" else Image.Resampling.BICUBIC))


def mask(animal: str) -> np.ndarray:
    return picture(f"{animal}_mask.png", "L") > 127


LOCALISATION: dict[str, tuple[str, dict[str, Any]]] = {
    "energy-pointing-game": ("RelevanceMassAccuracy", {}),
    "localisation-auc": ("AUC", {}),
    "pointing-game:tolerance=0": ("PointingGame", {}),
    "relevance-rank-accuracy": ("RelevanceRankAccuracy", {}),
    "top-k-intersection:k=700": ("TopKIntersection", {"k": 700}),
    "complexity": ("Complexity", {}),
    "sparseness": ("Sparseness", {}),
}


@pytest.mark.parametrize("metric", LOCALISATION)
@pytest.mark.parametrize("method", ["gradient", "layer-cam"])
@pytest.mark.filterwarnings("ignore")
def test_place_and_simplicity_equal_quantus(metric: str, method: str, trained: sl.Loaded, quantus: Any) -> None:
    """Of two photographs with masks and maps that are not negative; theirs keep small constants in the logarithm."""
    images, masks = [picture(f"{a}_with_mask.png") for a in ("samoyed", "bird")], [mask(a) for a in ("samoyed", "bird")]
    given = {"layer": "features.10"} if method == "layer-cam" else {}
    maps = sl.explain(trained, images, method=method, **given).map.astype(np.float64)
    assert (maps >= 0).all()
    (ours,) = sl.measure(trained, images, metric=metric, method=method, masks=masks, **given)
    name, options = LOCALISATION[metric]
    theirs = getattr(quantus, name)(disable_warnings=True, **options).evaluate_batch(
        x_batch=None, a_batch=maps[:, None].copy(), s_batch=np.stack(masks)[:, None]
    )
    np.testing.assert_allclose(ours.values, np.asarray(theirs, np.float64), rtol=2e-3)


class Grey(nn.Module):
    """A net of colours on grey pictures: Quantus counts each channel of a pixel as a feature of its own."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x.expand(-1, 3, -1, -1))


@pytest.mark.filterwarnings("ignore")
def test_pixel_flipping_equals_quantus(trained: sl.Loaded, quantus: Any) -> None:
    model: Any = trained.model
    net = Grey(model.module).eval()
    x = torch.as_tensor(picture("daisy.png", "L") / 127.5 - 1).float()[None, None]
    e = sl.explain(net, x, method="gradient")
    c = e.target[0]["index"]
    (ours,) = sl.measure(net, x, metric={"pixel-flipping": {"steps": 20, "fill": 0.0}}, method="gradient")
    metric = quantus.PixelFlipping(
        features_in_step=SIDE * SIDE // 20, perturb_baseline=0.0, normalise=False, disable_warnings=True
    )
    theirs = metric(
        net, x.numpy(), np.array([c]), a_batch=e.map[:, None].astype(np.float64), device="cpu", softmax=False
    )
    np.testing.assert_allclose(ours.curves["pixel-flipping"][0, 1:], theirs[0], rtol=1e-3)


@pytest.fixture
def pair(monkeypatch: pytest.MonkeyPatch) -> Any:
    """PAIR's curves, with black for what is hidden, and our strength of compression: what both do alike is compared."""
    from saliency.metrics import pic

    monkeypatch.setattr(np, "trapz", np.trapezoid, raising=False)  # theirs fails on NumPy 2.4
    monkeypatch.setattr(pic, "create_blurred_image", lambda full_img, pixel_mask: full_img * pixel_mask[..., None])
    monkeypatch.setattr(pic, "estimate_image_entropy", lambda image: size_in_bytes(image, "webp"))
    return pic


@pytest.mark.parametrize("kind", ["sic", "aic"])
def test_information_curves_equal_pairs(kind: str, trained: sl.Loaded, pair: Any) -> None:
    model: Any = trained.model
    net, image = model.module.eval(), picture("daisy.png")
    e = sl.explain(trained, image, method="gradient")
    c = e.target[0]["index"]

    def answer(images: np.ndarray) -> list[float]:
        x = torch.as_tensor(images / 127.5 - 1).movedim(-1, 1).float()
        with torch.inference_mode():
            outputs = net(x)
        return [float(p) for p in (outputs.softmax(-1)[:, c] if kind == "sic" else outputs.argmax(-1) == c)]

    theirs = pair.compute_pic_metric(
        image, e.map[0], np.zeros((SIDE, SIDE), bool), answer, SHARES, min_pred_value=0, num_data_points=100
    )
    (ours,) = sl.measure(trained, image, metric={f"pic-{kind}": {"fill": "black"}}, method="gradient")
    assert ours.values[0] == pytest.approx(theirs.auc, abs=1e-3)
