"""PyTorch: what each method costs in bare passes, beside Captum, pytorch-grad-cam and torchcam."""

from __future__ import annotations

import sys
from collections.abc import Callable

import torch
import torchvision

import sightline as sl
from benchmarks.clock import minima
from benchmarks.ours import contenders
from benchmarks.table import Row, emit

STEPS = 50
UNIT = {"gradient": "FB", "input-x-gradient": "FB", "guided-backprop": "FB", "deconvnet": "FB", "grad-cam": "F"}
MANY = {"integrated-gradients": {"steps": STEPS}, "smoothgrad": {"samples": STEPS}}


def compare(name: str, last: str, batch: int) -> list[Row]:
    """A row for each method on the torchvision model `name`, random weights, `batch` images of 224 x 224."""
    torch.manual_seed(0)
    net = torchvision.models.get_model(name, weights=None).eval()
    frozen = torchvision.models.get_model(name, weights=None).eval().requires_grad_(False)
    plain = torch.randn(batch, 3, 224, 224)
    x = plain.contiguous(memory_format=torch.channels_last)  # the best layout, for the bare passes and for every peer
    classes = net(x).argmax(1).tolist()
    loaded = sl.load(torchvision.models.get_model(name, weights=None).eval())  # a net that no peer has hooked

    def forward(images: torch.Tensor = x) -> None:
        with torch.inference_mode():
            frozen(images)

    def backward(images: torch.Tensor = x) -> None:
        leaf = images.detach().requires_grad_()
        torch.autograd.grad(frozen(leaf).max(1).values.sum(), leaf)

    ours = contenders(loaded, x, {method: {} for method in UNIT})
    quick = {"F": forward, "FB": backward, **ours, **_peers(net, name, last, x, classes)}
    rows = _rows(name, batch, minima(quick, seconds=12))
    return rows + (_many(name, loaded, frozen, net, x, classes) if batch == 1 else [])


def _peers(
    net: torch.nn.Module, name: str, last: str, x: torch.Tensor, classes: list[int]
) -> dict[str, Callable[[], object]]:
    from captum.attr import GuidedBackprop, LayerGradCam, Saliency
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
    from torchcam.methods import GradCAM as TorchcamGradCAM

    layer = net.get_submodule(last)
    saliency, layer_cam, cam = Saliency(net), LayerGradCam(net, layer), GradCAM(net, [layer])
    # pytorch-grad-cam and torchcam leave hooks on what they watch, so each has a net of its own
    other = torchvision.models.get_model(name, weights=None).eval()
    hooked = TorchcamGradCAM(other, target_layer=other.get_submodule(last))
    bent = GuidedBackprop(torchvision.models.get_model(name, weights=None).eval())
    targets = [ClassifierOutputTarget(c) for c in classes]
    return {
        "gradient: captum": lambda: saliency.attribute(x.clone().requires_grad_(), target=classes),
        "grad-cam: captum": lambda: layer_cam.attribute(x, target=classes, relu_attributions=True),
        "grad-cam: pytorch-grad-cam": lambda: cam(x.clone(), targets),
        "grad-cam: torchcam": lambda: hooked(classes, other(x)),
        "guided-backprop: captum": lambda: bent.attribute(x.clone().requires_grad_(), target=classes),
    }


def _rows(name: str, batch: int, best: dict[str, float]) -> list[Row]:
    rows = []
    for contender, seconds in best.items():
        method, _, by = contender.partition(": ")
        if by:
            rows.append(Row(f"torch {name}", batch, method, by, UNIT[method], 1, seconds, best[UNIT[method]]))
    rows.append(Row(f"torch {name}", batch, "bare FB", "", "F", 1, best["FB"], best["F"]))
    return rows


def _many(
    name: str, loaded: sl.Loaded, frozen: torch.nn.Module, net: torch.nn.Module, x: torch.Tensor, classes: list[int]
) -> list[Row]:
    """Methods of many passes, against as many bare ones in chunks of the same size."""
    from captum.attr import IntegratedGradients, NoiseTunnel, Saliency

    chunk = loaded.model.chunk
    pack = x.repeat(chunk, 1, 1, 1).contiguous(memory_format=torch.channels_last)
    path, tunnel = IntegratedGradients(net), NoiseTunnel(Saliency(net))

    def bare() -> None:
        for start in range(0, STEPS, chunk):
            leaf = pack[: min(chunk, STEPS - start)].detach().requires_grad_()
            torch.autograd.grad(frozen(leaf).max(1).values.sum(), leaf)

    best = minima(
        {
            "bare": bare,
            **contenders(loaded, x, MANY),
            "integrated-gradients: captum": lambda: path.attribute(
                x, target=classes, n_steps=STEPS, internal_batch_size=chunk
            ),
            "smoothgrad: captum": lambda: tunnel.attribute(
                x, nt_samples=STEPS, nt_samples_batch_size=chunk, target=classes, stdevs=1.0, abs=False
            ),
        },
        seconds=10,
        rounds=2,
    )
    rows = [(c.partition(": "), s) for c, s in best.items() if c != "bare"]
    return [Row(f"torch {name}", 1, m, by, "FB", STEPS, s, best["bare"] / STEPS) for (m, _, by), s in rows]


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else torch.get_num_threads())
    for net, layer in (("resnet50", "layer4"), ("mobilenet_v2", "features")):
        for images in (1, 8):
            emit(compare(net, layer, images))
