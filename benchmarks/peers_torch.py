"""Captum, pytorch-grad-cam, torchcam and a loop of one mask at a time, on the same work."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from captum import attr
from pytorch_grad_cam import AblationCAM, EigenCAM, GradCAM, ScoreCAM
from pytorch_grad_cam.ablation_layer import AblationLayer
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torchcam import methods as torchcam

from benchmarks.clock import Run
from benchmarks.models import Subject
from benchmarks.ours import Peers

CAPTUM, PGC, TORCHCAM, LOOP = "captum", "pytorch-grad-cam", "torchcam", "a loop, one mask at a time"
LAID = "captum, told channels last"


def of_one_pass(subject: Subject) -> Peers:
    """The gradient and the CAMs that need a pass or two."""
    net, x, classes = subject.net(), subject.given, subject.classes
    saliency, cam = attr.Saliency(net), attr.LayerGradCam(net, net.get_submodule(subject.layer))
    bent = attr.GuidedBackprop(subject.net())
    return _able(
        subject,
        {
            "gradient": {CAPTUM: lambda: saliency.attribute(x.clone().requires_grad_(), target=classes)},
            "guided-backprop": {CAPTUM: lambda: bent.attribute(x.clone().requires_grad_(), target=classes)},
            "grad-cam": {
                CAPTUM: lambda: cam.attribute(x, target=classes, relu_attributions=True),
                PGC: _pgc(subject, GradCAM, subject.layer),
                TORCHCAM: _torchcam(subject, torchcam.GradCAM, subject.layer),
            },
            "eigen-cam": {PGC: _pgc(subject, EigenCAM, subject.layer)},
        },
    )


def _able(subject: Subject, peers: dict[str, dict[str, Run]]) -> Peers:
    """Without pytorch-grad-cam in bfloat16: it takes its maps to NumPy, which has no such numbers."""
    rough = subject.precision != "float32"
    return {name: {by: run for by, run in runs.items() if by != PGC or not rough} for name, runs in peers.items()}


def of_many_passes(subject: Subject, n: int, window: int, windows: int) -> Peers:
    """Paths and noise with `n` points, `n` random masks and `windows` regular ones."""
    net, x, classes = subject.net(), subject.given, subject.classes
    path, tunnel, occlusion = attr.IntegratedGradients(net), attr.NoiseTunnel(attr.Saliency(net)), attr.Occlusion(net)
    slid: dict[str, Any] = {"sliding_window_shapes": (3, window, window), "strides": (3, window // 2, window // 2)}
    points = {"target": classes, "n_steps": n, "internal_batch_size": subject.pack, "method": "riemann_middle"}
    noise: dict[str, Any] = {"nt_samples": n, "nt_samples_batch_size": subject.pack, "stdevs": 1.0, "abs": False}
    return {
        "integrated-gradients": {
            CAPTUM: lambda: path.attribute(x, **points),
            LAID: lambda: path.attribute(subject.x, **points),
        },
        "smoothgrad": {CAPTUM: lambda: tunnel.attribute(x, target=classes, **noise)},
        "rise": {LOOP: _loop(subject, n)},
        "occlusion": {
            CAPTUM: lambda: occlusion.attribute(x, target=classes, perturbations_per_eval=subject.pack, **slid),
            LOOP: _loop(subject, windows),
        },
    }


def score_cam(subject: Subject, layer: str) -> Peers:
    """Score-CAM of a layer's channels."""
    return _able(subject, {"score-cam": {PGC: _pgc(subject, ScoreCAM, layer), TORCHCAM: _scored(subject, layer)}})


def ablation(subject: Subject, channels: int) -> Run:
    """pytorch-grad-cam's Ablation-CAM of the first so many channels, as its own option of a share does."""
    return _pgc(subject, AblationCAM, subject.layer, ablation_layer=_First(channels))


class _First(AblationLayer):  # type: ignore[misc]
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def activations_to_be_ablated(self, activations: np.ndarray, ratio_channels_to_ablate: float = 1.0) -> np.ndarray:
        """The channels; they are kept, as the layer itself keeps them."""
        self.indices = np.arange(self.channels)
        return self.indices


def _pgc(subject: Subject, kind: Any, layer: str, **options: Any) -> Run:
    net = subject.net()
    cam = kind(net, [net.get_submodule(layer)], **options)
    targets = [ClassifierOutputTarget(c) for c in subject.classes]
    return lambda: cam(subject.given.clone(), targets)


def _torchcam(subject: Subject, kind: Any, layer: str) -> Run:
    net = subject.net()
    cam = kind(net, target_layer=net.get_submodule(layer))
    return lambda: cam(subject.classes, net(subject.given))


def _scored(subject: Subject, layer: str) -> Run:
    net = subject.net()
    cam = torchcam.ScoreCAM(net, target_layer=net.get_submodule(layer), batch_size=subject.pack)

    def run() -> object:
        with torch.no_grad():
            return cam(subject.classes, net(subject.given))

    return run


def _loop(subject: Subject, count: int) -> Run:
    """As TorchRay and the authors' code do it: each mask drawn, laid over the image, and passed by itself."""
    net, x, label = subject.bare, subject.given, subject.classes[0]

    def run() -> torch.Tensor:
        total = torch.zeros_like(x[0, 0])
        with torch.no_grad():
            for k in range(count):
                coarse = (torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(k)) < 0.5).to(x)
                mask = torch.nn.functional.interpolate(coarse, size=x.shape[-2:], mode="bilinear")
                total += net(x * mask)[0, label] * mask[0, 0]
        return total

    return run
