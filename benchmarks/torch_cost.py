"""PyTorch: what each method costs in bare passes, beside Captum, pytorch-grad-cam and torchcam."""

from __future__ import annotations

import sys

import torch
import torchvision

import sightline as sl
from benchmarks.clock import Contender, Limit, Run
from benchmarks.ours import contenders
from benchmarks.table import Row, emit, rows

STEPS = 50
UNIT = {"gradient": "FB", "guided-backprop": "FB", "deconvnet": "FB", "grad-cam": "F"}
MANY = {"integrated-gradients": {"steps": STEPS}, "smoothgrad": {"samples": STEPS}}


def compare(name: str, last: str, batch: int) -> list[Row]:
    """A row for each method on the torchvision model `name`, random weights, `batch` images of 224 x 224."""
    torch.manual_seed(0)
    net = _net(name)
    plain = torch.randn(batch, 3, 224, 224)
    x = plain.contiguous(memory_format=torch.channels_last)  # the best layout, for the bare passes and for every peer
    classes = net(x).argmax(1).tolist()
    loaded = sl.load(_net(name))  # a net that no peer has hooked
    limits = _limits(_net(name).requires_grad_(False), x)
    runs = contenders(loaded, x, {method: {} for method in UNIT}) | _peers(net, name, last, x, classes)
    quick = {called: Contender(run, limits[UNIT[called.partition(":")[0]]]) for called, run in runs.items()}
    quick["the limit: itself"] = Contender(limits["FB"].run, limits["FB"])
    found = rows(f"torch {name}", batch, quick, seconds=20)
    return found + (_many(name, loaded, net, x, classes) if batch == 1 else [])


def _net(name: str) -> torch.nn.Module:
    return torchvision.models.get_model(name, weights=None).eval()


def _limits(frozen: torch.nn.Module, x: torch.Tensor) -> dict[str, Limit]:
    """A bare pass forward, and one with the gradient at the images."""

    def forward() -> None:
        with torch.inference_mode():
            frozen(x)

    def backward() -> None:
        leaf = x.detach().requires_grad_()
        torch.autograd.grad(frozen(leaf).max(1).values.sum(), leaf)

    return {"F": Limit("F", forward), "FB": Limit("FB", backward)}


def _peers(net: torch.nn.Module, name: str, last: str, x: torch.Tensor, classes: list[int]) -> dict[str, Run]:
    from captum.attr import GuidedBackprop, LayerGradCam, Saliency
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
    from torchcam.methods import GradCAM as TorchcamGradCAM

    layer = net.get_submodule(last)
    saliency, layer_cam, cam = Saliency(net), LayerGradCam(net, layer), GradCAM(net, [layer])
    # pytorch-grad-cam and torchcam leave hooks on what they watch, so each has a net of its own
    other = _net(name)
    hooked = TorchcamGradCAM(other, target_layer=other.get_submodule(last))
    bent = GuidedBackprop(_net(name))
    targets = [ClassifierOutputTarget(c) for c in classes]
    return {
        "gradient: captum": lambda: saliency.attribute(x.clone().requires_grad_(), target=classes),
        "grad-cam: captum": lambda: layer_cam.attribute(x, target=classes, relu_attributions=True),
        "grad-cam: pytorch-grad-cam": lambda: cam(x.clone(), targets),
        "grad-cam: torchcam": lambda: hooked(classes, other(x)),
        "guided-backprop: captum": lambda: bent.attribute(x.clone().requires_grad_(), target=classes),
    }


def _many(name: str, loaded: sl.Loaded, net: torch.nn.Module, x: torch.Tensor, classes: list[int]) -> list[Row]:
    """Methods of many passes, against bare ones in chunks of the same size."""
    from captum.attr import IntegratedGradients, NoiseTunnel, Saliency

    chunk = loaded.model.chunk
    pack = x.repeat(chunk, 1, 1, 1).contiguous(memory_format=torch.channels_last)
    bare = _limits(_net(name).requires_grad_(False), pack)["FB"].run
    limit = Limit("FB", lambda: [bare() for _ in range(3)], 3 * chunk)
    path, tunnel = IntegratedGradients(net), NoiseTunnel(Saliency(net))
    runs: dict[str, Run] = {
        **contenders(loaded, x, MANY),
        "integrated-gradients: captum": lambda: path.attribute(
            x, target=classes, n_steps=STEPS, internal_batch_size=chunk
        ),
        "smoothgrad: captum": lambda: tunnel.attribute(
            x, nt_samples=STEPS, nt_samples_batch_size=chunk, target=classes, stdevs=1.0, abs=False
        ),
    }
    many = {called: Contender(run, limit, STEPS) for called, run in runs.items()}
    return rows(f"torch {name}", 1, many, seconds=20, rounds=3)


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else torch.get_num_threads())
    for net, layer in (("resnet50", "layer4"), ("mobilenet_v2", "features")):
        for images in (1, 8):
            emit(compare(net, layer, images))
