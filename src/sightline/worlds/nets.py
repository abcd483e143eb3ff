"""The small nets of the worlds, in PyTorch; this module is imported only when one is asked for."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from sightline.errors import ModelError

BLOCKS = ((16, 5, 2), (32, 3, 1), (48, 3, 2), (48, 3, 1), (64, 3, 2), (64, 3, 1), (96, 3, 1))  # filters, kernel, stride


def ring_counter(classes: int = 8) -> nn.Sequential:
    """A ConvNet with 162,000 weights from images (n, 3, 96, 96) to scores (n, classes).

    `features.0` to `features.6` are its blocks (the last gives 12 by 12), then come `pool`, `flatten` and `head`.
    """
    features, channels = nn.Sequential(), 3
    for filters, kernel, stride in BLOCKS:
        features.append(_block(channels, filters, kernel, stride))
        channels = filters
    net = nn.Sequential()
    net.add_module("features", features)
    net.add_module("pool", nn.AdaptiveAvgPool2d(1))
    net.add_module("flatten", nn.Flatten())
    net.add_module("head", nn.Linear(channels, classes))
    return net


def _block(channels: int, filters: int, kernel: int, stride: int) -> nn.Sequential:
    block = nn.Sequential()
    block.add_module("conv", nn.Conv2d(channels, filters, kernel, stride, padding=kernel // 2, bias=False))
    block.add_module("norm", nn.BatchNorm2d(filters))
    block.add_module("relu", nn.ReLU())
    return block


def trained(weights: Path, classes: int) -> nn.Sequential:
    """The ring counter with the weights of a file, ready to answer (evaluation mode, on the CPU).

    Raises ModelError for a file that is not there or does not fit.
    """
    net = ring_counter(classes)
    try:
        net.load_state_dict(load_file(weights))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise ModelError(
            f"The weights {weights} cannot be loaded: {error}",
            "Install sightline again, or train them: python -m sightline.worlds.train fish-scales",
        ) from error
    return net.eval()
