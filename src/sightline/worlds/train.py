"""Trains the nets that sightline ships: `python -m sightline.worlds.train fish-scales`, minutes on two cores.

A stock of pictures is drawn once and shown turned and mirrored; accuracy is read on seeds that are never trained on.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn

from sightline.errors import InputError, SightlineError
from sightline.pictures import write_whole
from sightline.worlds import World, find_world
from sightline.worlds.nets import ring_counter

FIRST_TRAINING_SEED = 1_000_000  # those below are for tests, demonstrations and benchmarks
STOCK = 12_000
BATCH = 64
HIGHEST_RATE = 4e-3
CHECKED = range(1000)


def drawn(world: World, seeds: range) -> tuple[Tensor, Tensor]:
    """The pictures (n, size, size, 3) uint8 of these seeds, and their classes (n,)."""
    pictures = [world.draw(seed, size=world.size) for seed in seeds]
    images = torch.from_numpy(np.stack([picture.image for picture in pictures]))
    return images, torch.tensor([world.class_of(picture) for picture in pictures])


def as_input(images: Tensor) -> Tensor:
    """Pictures (n, h, w, 3) uint8 as the nets take them: (n, 3, h, w) float32 from -1 to 1."""
    return images.permute(0, 3, 1, 2).float() / 127.5 - 1


def turned(x: Tensor, way: int) -> Tensor:
    """A batch (n, c, h, w) turned by `way` % 4 quarters, and mirrored where `way` is over 3."""
    x = torch.rot90(x, way % 4, (2, 3))
    return x.flip(3) if way > 3 else x


def learn(net: nn.Module, images: Tensor, classes: Tensor, steps: int, seed: int) -> list[float]:
    """Fits a net in place to pictures and their classes, and returns the loss of every step."""
    optimiser = torch.optim.AdamW(net.parameters(), HIGHEST_RATE, weight_decay=0.01)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, HIGHEST_RATE, total_steps=steps)
    draws, losses = torch.Generator().manual_seed(seed), []
    net.train()
    for step in range(steps):
        chosen, way = torch.randint(len(images), (BATCH,), generator=draws), torch.randint(8, (1,), generator=draws)
        loss = nn.functional.cross_entropy(net(turned(as_input(images[chosen]), int(way))), classes[chosen])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        rate.step()
        losses.append(loss.item())
        if (step + 1) % 100 == 0:
            tell(f"step {step + 1} of {steps}: mean loss {np.mean(losses[-100:]):.3f}")
    return losses


def train(world: World, seed: int, steps: int, pictures: int = STOCK) -> tuple[nn.Sequential, list[float]]:
    """A trained net and its losses; the same arguments give the same weights on one machine."""
    tell(f"drawing {pictures} pictures")
    first = FIRST_TRAINING_SEED + seed * pictures
    images, classes = drawn(world, range(first, first + pictures))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = ring_counter(len(world.labels)).to(memory_format=torch.channels_last)
    return net, learn(net, images, classes, steps, seed)


def accuracy(net: nn.Module, world: World, seeds: range) -> float:
    """The share of these seeds' pictures whose class the net names exactly."""
    net.eval()
    right = 0
    for start in range(0, len(seeds), 100):
        images, classes = drawn(world, seeds[start : start + 100])
        with torch.no_grad():
            right += int((net(as_input(images)).argmax(1) == classes).sum())
    return right / len(seeds)


def write_weights(net: nn.Module, path: Path, facts: dict[str, str]) -> None:
    """Saves the weights as safetensors with facts in the header; the file is whole or not there."""
    content = save({key: value.contiguous() for key, value in net.state_dict().items()}, metadata=facts)
    write_whole(path, lambda file: file.write(content))


def tell(line: str) -> None:
    """Progress, for people."""
    print(line, file=sys.stderr, flush=True)


def check_folder(path: Path) -> None:
    """Raises InputError, before the work, where a file cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error}.", "Give --out a file in a folder of yours.") from error


def whole_number(least: int) -> Callable[[str], int]:
    """A reader of whole numbers from `least` up, for the command."""

    def number(text: str) -> int:
        if not text.isascii() or not text.isdigit() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of {least} or more")
        return int(text)

    return number


def read_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """What the command was given."""
    parser = argparse.ArgumentParser(prog="python -m sightline.worlds.train", description="Train the net of a world.")
    parser.add_argument("world", help="fish-scales, or fish-scales/rings")
    parser.add_argument("--out", type=Path, help="where to write (default: the file that sightline ships)")
    parser.add_argument("--seed", type=whole_number(0), default=0)
    parser.add_argument("--steps", type=whole_number(1), default=1600)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command: trains, checks on fresh pictures, writes; gives the exit status."""
    given = read_arguments(arguments)
    try:
        world = find_world(given.world)
        out = given.out or world.weights
        check_folder(out)
    except SightlineError as error:
        tell(str(error))
        return 2
    torch.set_num_threads(2)
    net, _ = train(world, given.seed, given.steps)
    share = accuracy(net, world, CHECKED)
    facts = {"world": given.world, "seed": given.seed, "steps": given.steps, "pictures": STOCK, "accuracy": share}
    versions = {"torch": torch.__version__, "numpy": np.__version__}
    write_weights(net, out, {key: str(value) for key, value in (facts | versions).items()})
    tell(f"accuracy {share:.3f} on {len(CHECKED)} fresh pictures; wrote {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
