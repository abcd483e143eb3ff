"""The small nets of the worlds, in PyTorch; this module is imported only when one is asked for."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from sightline.errors import ModelError
from sightline.worlds.control_nets import control_net
from sightline.worlds.drawing import World

Blocks = tuple[tuple[int, int, int], ...]  # filters, kernel, stride
COUNTER: Blocks = ((16, 5, 2), (32, 3, 1), (48, 3, 2), (48, 3, 1), (64, 3, 2), (64, 3, 1), (96, 3, 1))
INSPECTOR: Blocks = ((16, 5, 2), (32, 3, 2), (48, 3, 1), (64, 3, 2))


def ring_counter(outputs: int = 8) -> nn.Sequential:
    """A ConvNet with 162,000 weights from images (n, 3, 96, 96) to scores (n, outputs).

    `features.0` to `features.6` are its blocks (the last gives 12 by 12), then come `pool`, `flatten` and `head`.
    """
    return _conv_net(COUNTER, outputs, nn.AdaptiveAvgPool2d(1))


def inspector(outputs: int = 2) -> nn.Sequential:
    """A ConvNet with 48,000 weights from images (n, 3, 64, 64) to scores (n, outputs), which finds what is somewhere.

    `features.0` to `features.3` are its blocks (the last gives 8 by 8), then come `pool` (the maximum of each channel),
    `flatten` and `head`.
    """
    return _conv_net(INSPECTOR, outputs, nn.AdaptiveMaxPool2d(1))


def sizer(outputs: int = 8) -> nn.Sequential:
    """The `inspector` with 55,000 weights, whose `pool` gives the means of 4 by 4 places: it sees how far things reach."""
    return _conv_net(INSPECTOR, outputs, nn.AdaptiveAvgPool2d(4), places=16)


def _conv_net(blocks: Blocks, outputs: int, pool: nn.Module, places: int = 1) -> nn.Sequential:
    features, channels = nn.Sequential(), 3
    for filters, kernel, stride in blocks:
        features.append(_block(channels, filters, kernel, stride))
        channels = filters
    net = nn.Sequential()
    net.add_module("features", features)
    net.add_module("pool", pool)
    net.add_module("flatten", nn.Flatten())
    net.add_module("head", nn.Linear(channels * places, outputs))
    return net


def _block(channels: int, filters: int, kernel: int, stride: int) -> nn.Sequential:
    block = nn.Sequential()
    block.add_module("conv", nn.Conv2d(channels, filters, kernel, stride, padding=kernel // 2, bias=False))
    block.add_module("norm", nn.BatchNorm2d(filters))
    block.add_module("relu", nn.ReLU())
    return block


TRAINABLE = {"ring_counter": ring_counter, "inspector": inspector, "sizer": sizer}


def trained(weights: Path, net: nn.Sequential) -> nn.Sequential:
    """The net with the weights of a file, ready to answer (evaluation mode, on the CPU, in float32).

    Raises ModelError for a file that is not there or does not fit.
    """
    try:
        net.load_state_dict(load_file(weights))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise ModelError(
            f"The weights {weights} cannot be loaded: {error}",
            "Install sightline again, or train them: python -m sightline.worlds.train NAME/VARIANT",
        ) from error
    return net.eval()


def net_of(world: World) -> nn.Module:
    """The shipped net of a world, ready to answer: trained, or with weights in closed form."""
    if world.weights is None:
        return control_net(world.net, world.size)
    return trained(world.weights, TRAINABLE[world.net](len(world.labels)))
