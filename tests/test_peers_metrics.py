"""The same numbers as Captum's and pytorch-grad-cam's metrics, given the same perturbations; and where these go wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from captum.metrics import infidelity, sensitivity_max
from PIL import Image
from pytorch_grad_cam.metrics.cam_mult_image import DropInConfidence, IncreaseInConfidence
from pytorch_grad_cam.metrics.road import NoisyLinearImputer, ROADMostRelevantFirst, neighbors_weights
from scipy.ndimage import gaussian_filter
from torch import nn

import paper_metrics as twin
import sightline as sl
from conftest import ASSETS
from nets import build
from paper import small_net
from sightline.metrics._imputation import imputed
from sightline.metrics._nearby import noise_like

FRAMEWORKS = ("torch",)
SIDE = 96


@pytest.fixture(scope="module")
def trained() -> sl.Loaded:
    return sl.load(
        "torchvision:mobilenet_v2",
        weights=str(ASSETS / "mobilenet_v2_torchvision.safetensors"),
        preprocess=f"resize={SIDE},crop={SIDE},mean=0.5,std=0.5",
    )


@pytest.fixture(scope="module")
def photograph() -> torch.Tensor:
    image = Image.open(ASSETS / "images" / "daisy.png").convert("RGB").resize((SIDE, SIDE))
    return torch.as_tensor(np.asarray(image) / 127.5 - 1).movedim(-1, 0)[None].float()


def measured(loaded: Any, x: torch.Tensor, metric: str, method: str = "grad-cam", **options: Any) -> sl.Measurement:
    (found,) = sl.measure(loaded, x, metric={metric: options}, method=method)
    return found


def softmaxed(c: int) -> Any:
    return lambda outputs: outputs.softmax(-1)[..., c]


@pytest.mark.assets
def test_infidelity_equals_captums(trained: sl.Loaded, photograph: torch.Tensor) -> None:
    """The squares of ours, handed over: real perturbations and slopes, or as shares of what the pixels gave."""
    model: Any = trained.model
    e = sl.explain(trained, photograph, method="gradient")
    c, samples = e.target[0]["index"], 6
    slopes = torch.as_tensor(e.attribution).movedim(-1, 1)
    drawn = []
    for k in range(samples):
        draw = np.random.default_rng([0, k])
        top, left = (int(draw.integers(0, SIDE - 24 + 1)) for _ in range(2))
        mask = torch.zeros(1, 1, SIDE, SIDE)
        mask[..., top : top + 24, left : left + 24] = 1
        drawn.append(mask * (photograph - 0.5))
    for normalised, scaled in ((True, "best"), (False, "as-given")):
        rest = iter([torch.cat(drawn)] * 2)

        def perturb(x: torch.Tensor, rest: Any = rest) -> tuple[torch.Tensor, torch.Tensor]:
            i = next(rest)
            return i, x - i

        theirs = infidelity(
            model.module.eval(), perturb, photograph, slopes, target=c, n_perturb_samples=samples, normalize=normalised
        )
        own = {"units": "local", "samples": samples, "fill": 0.5, "scaled": scaled}
        found = measured(trained, photograph, "infidelity", "gradient", **own)
        assert found.values[0] == pytest.approx(float(theirs), rel=1e-3)


@pytest.mark.assets
def test_max_sensitivity_equals_captums(trained: sl.Loaded, photograph: torch.Tensor) -> None:
    model: Any = trained.model
    module = model.module.eval()
    e = sl.explain(trained, photograph, method="input-x-gradient")
    c = e.target[0]["index"]

    def explain(x: Any) -> tuple[torch.Tensor, ...]:
        x = (x[0] if isinstance(x, tuple) else x).detach().requires_grad_()
        with torch.enable_grad():  # Captum asks without
            return ((x * torch.autograd.grad(module(x)[:, c].sum(), x)[0]).sum(1, keepdim=True).detach(),)

    noise = torch.cat([noise_like(photograph, 0.02, 0, k) for k in range(3)])
    given: dict[str, Any] = {"perturb_func": lambda x: (x[0] + noise,), "n_perturb_samples": 3}
    theirs = float(sensitivity_max(explain, photograph, **given))
    found = measured(trained, photograph, "max-sensitivity", "input-x-gradient", samples=3)
    assert found.values[0] == pytest.approx(theirs, rel=1e-2)  # gates flip in float32
    wrong = float(sensitivity_max(lambda x: explain(x)[0], photograph, **given))
    assert wrong == pytest.approx(3**0.5 * theirs, rel=1e-2)  # of a map that is no tuple each draw counts for all three


@pytest.mark.assets
def test_drop_and_increase_in_confidence(trained: sl.Loaded, photograph: torch.Tensor) -> None:
    """Theirs is in absolute terms; the paper's, and ours, in shares of the first probability."""
    model: Any = trained.model
    e = sl.explain(trained, photograph, method="grad-cam")
    c = e.target[0]["index"]
    cams = np.maximum(e.map, 0) / e.map.max()
    inputs = (photograph, cams, [softmaxed(c)], model.module.eval())
    whole = float(softmaxed(c)(model.module(photograph)).detach())
    drop = measured(trained, photograph, "average-drop").values[0]
    assert drop * whole == pytest.approx(float(DropInConfidence()(*inputs)[0]), rel=1e-3, abs=1e-5)
    assert measured(trained, photograph, "average-increase").values[0] == float(IncreaseInConfidence()(*inputs)[0])


@pytest.mark.assets
def test_road_equals_pytorch_grad_cams_where_no_values_tie(trained: sl.Loaded, photograph: torch.Tensor) -> None:
    model: Any = trained.model
    e = sl.explain(trained, photograph, method="gradient")
    c, m = e.target[0]["index"], e.map[0]
    assert len(np.unique(m)) == m.size
    found = measured(trained, photograph, "road", "gradient", steps=2, noise=0)
    silent = NoisyLinearImputer(noise=0)
    for part, kept in enumerate((200 / 3, 100 / 3)):
        for curve, cam in (("most", m), ("least", -m)):
            metric = ROADMostRelevantFirst(kept)
            metric.perturbation.imputer = silent
            theirs = metric(photograph, cam[None], [softmaxed(c)], model.module.eval(), return_diff=False)
            assert found.curves[curve][0, part] == pytest.approx(float(theirs[0]), rel=0.02, abs=2e-3)


def test_imputation_equals_pytorch_grad_cams() -> None:
    rng = np.random.default_rng(0)
    image, missing = rng.normal(size=(3, 20, 24)), gaussian_filter(rng.normal(size=(20, 24)), 2) < 0
    a, b = NoisyLinearImputer.setup_sparse_system((~missing).astype(float), image, neighbors_weights)
    expected = np.linalg.solve(a.toarray(), b)
    assert np.abs(imputed(image, missing)[:, missing] - expected.T).max() < 1e-6


# where others go wrong, and these do not


def linear_net(weights: np.ndarray) -> nn.Module:
    head = nn.Linear(weights.size, 2, dtype=torch.float64)
    head.weight.data = torch.as_tensor(np.stack([weights.ravel(), -weights.ravel()]))
    head.bias.data.zero_()
    return nn.Sequential(nn.Flatten(), head)


def mostly_zero(size: int = 12) -> tuple[nn.Module, torch.Tensor]:
    """A model that reads one corner, so that its exact map is zero but for a tenth."""
    weights = np.zeros((3, size, size))
    weights[:, :4, :4] = np.random.default_rng(0).uniform(0.5, 1, size=(3, 4, 4))
    return linear_net(weights), torch.as_tensor(np.random.default_rng(1).uniform(0.5, 1, size=(1, 3, size, size)))


def test_a_map_that_is_mostly_zeros_loses_no_more_than_its_share() -> None:
    """pytorch-grad-cam takes a percentile for the threshold, and removes everything that is not below it."""
    module, x = mostly_zero()
    m = (module[1].weight[0].reshape(x.shape) * x).sum(1).detach()  # type: ignore[index, union-attr, operator]
    assert (m < np.percentile(m, 50)).sum() == 0  # nothing would be kept
    found = measured(module, x, "road", "input-x-gradient", steps=1, noise=0, scored="logit")
    whole = float(module(x)[0, 0].detach())
    assert found.curves["least"][0, 0] == pytest.approx(whole, rel=1e-6)  # half of the zeros went, and none of the rest
    assert found.curves["most"][0, 0] != pytest.approx(whole, rel=1e-3)
    assert measured(module, x, "road", "input-x-gradient", steps=1, noise=0, scored="logit", ties="last").values[0] > 0


@pytest.mark.parametrize("metric", ["road", "irof", "pixel-flipping", "deletion", "mu-fidelity", "infidelity"])
def test_colour_pictures_of_any_size_are_measured(metric: str) -> None:
    """Quantus 0.6 fails on three channels in ROAD and IROF, in `np.trapz` in others, and where a patch does not divide."""
    x = torch.as_tensor(np.random.default_rng(3).normal(size=(2, 3, 13, 17)))
    options = {"road": {"steps": 3}, "irof": {"segments": 9}, "infidelity": {"side": 5 / 13, "samples": 5}}.get(
        metric, {}
    )
    assert np.isfinite(measured(build(small_net()), x, metric, "input-x-gradient", **options).values).all()


def test_irof_does_not_hang_on_the_batch() -> None:
    """Quantus 0.6 fills shorter curves up with zeros, and takes the area of these too."""
    x = torch.as_tensor(gaussian_filter(np.random.default_rng(3).normal(size=(4, 3, 24, 24)), (0, 0, 2, 2)))
    x[0] = 0.01 * x[0] + torch.linspace(-1, 1, 24)  # of another number of segments
    module = build(small_net())
    together = measured(module, x, "irof", "input-x-gradient", segments=20).values
    alone = [measured(module, x[i : i + 1], "irof", "input-x-gradient", segments=20).values[0] for i in range(4)]
    np.testing.assert_allclose(together, alone, rtol=1e-9)


def test_completeness_is_a_number_that_rounding_does_not_turn() -> None:
    """Quantus 0.6 asks whether two floats are equal."""
    module, x = mostly_zero()
    found = measured(module, x, "completeness", "input-x-gradient", fill=0).values[0]
    assert found < 1e-6


def test_all_channels_of_a_pixel_go_together() -> None:
    """Others flipped the red one only."""
    module, x = mostly_zero()
    found = measured(module, x, "pixel-flipping", "input-x-gradient", fill=0, steps=144)
    assert found.curves["pixel-flipping"][0, 16] == pytest.approx(0, abs=1e-9)  # the 16 pixels that matter


def test_region_perturbation_by_its_formula() -> None:
    """With squares that do not divide the picture, through the whole of `measure`."""
    module, x = mostly_zero()
    image = x[0].movedim(0, -1).numpy()

    def score(a: np.ndarray) -> float:
        return float(module(torch.as_tensor(np.moveaxis(a, -1, 0).copy())[None])[0, 0].detach())

    m = sl.explain(module, x, method="input-x-gradient").map[0].astype(np.float64)
    found = measured(module, x, "region-perturbation", "input-x-gradient", side=5, fill=0, ties="first")
    expected = twin.region_perturbation(score, image, np.zeros_like(image), m, 5, 100)
    assert found.values[0] == pytest.approx(expected, rel=1e-9)
