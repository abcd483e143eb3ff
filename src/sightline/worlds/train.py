"""Trains the nets that sightline ships: `python -m sightline.worlds.train NAME/VARIANT`, minutes on two cores.

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
from sightline.worlds import WORLDS, World, find_world
from sightline.worlds.drawing import Recipe
from sightline.worlds.nets import TRAINABLE, net_of

FIRST_TRAINING_SEED = 1_000_000  # those below are for tests, demonstrations and benchmarks
CHECKED = range(1000)


def drawn(world: World, seeds: range) -> tuple[Tensor, Tensor]:
    """The pictures (n, size, size, 3) uint8 of these seeds, and their right answers (n,): classes, or a quantity."""
    pictures = [world.draw(seed, size=world.size) for seed in seeds]
    images = torch.from_numpy(np.stack([picture.image for picture in pictures]))
    kind = torch.float32 if is_quantity(world) else torch.long
    return images, torch.tensor([picture.label for picture in pictures]).to(kind)


def is_quantity(world: World) -> bool:
    """Whether the net's answer is a number and not a class."""
    return len(world.labels) == 1


def as_input(images: Tensor) -> Tensor:
    """Pictures (n, h, w, 3) uint8 as the nets take them: (n, 3, h, w) float32 from -1 to 1."""
    return images.permute(0, 3, 1, 2).float() / 127.5 - 1


def turned(x: Tensor, way: int) -> Tensor:
    """A batch (n, c, h, w) turned by `way` % 4 quarters, and mirrored where `way` is over 3."""
    x = torch.rot90(x, way % 4, (2, 3))
    return x.flip(3) if way > 3 else x


def loss_of(scores: Tensor, answers: Tensor) -> Tensor:
    """Cross-entropy with the right classes (integers), or the smooth L1 distance to the right quantities."""
    if answers.is_floating_point():
        return nn.functional.smooth_l1_loss(scores[:, 0], answers, beta=0.3)
    return nn.functional.cross_entropy(scores, answers)


def learn(net: nn.Module, images: Tensor, answers: Tensor, recipe: Recipe, seed: int) -> list[float]:
    """Fits a net in place to pictures and their right answers, and returns the loss of every step."""
    steps = recipe.steps
    optimiser = torch.optim.AdamW(net.parameters(), recipe.rate, weight_decay=0.01)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.rate, total_steps=steps)
    draws, losses = torch.Generator().manual_seed(seed), []
    net.train()
    for step in range(steps):
        chosen, way = (
            torch.randint(len(images), (recipe.batch,), generator=draws),
            torch.randint(8, (1,), generator=draws),
        )
        loss = loss_of(net(turned(as_input(images[chosen]), int(way))), answers[chosen])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        rate.step()
        losses.append(loss.item())
        if (step + 1) % 100 == 0:
            tell(f"step {step + 1} of {steps}: mean loss {np.mean(losses[-100:]):.3f}")
    return losses


def train(world: World, seed: int, recipe: Recipe, *, random_labels: bool = False) -> tuple[nn.Sequential, list[float]]:
    """A trained net and its losses; the same arguments give the same weights on one machine.

    With `random_labels` the right answers are dealt to the pictures anew, at random: what such a net has learnt is no
    evidence (Adebayo et al. 2018, section 4). The weights are those of a file: rounded to half precision.
    """
    tell(f"drawing {recipe.pictures} pictures")
    first = FIRST_TRAINING_SEED + seed * recipe.pictures
    images, answers = drawn(world, range(first, first + recipe.pictures))
    if random_labels:
        answers = answers[torch.randperm(recipe.pictures, generator=torch.Generator().manual_seed(seed))]
    net = beginning(world, seed, random_labels=random_labels)
    losses = learn(net, images, answers, recipe, seed)
    return net.half().float(), losses


def beginning(world: World, seed: int, *, random_labels: bool) -> nn.Sequential:
    """The net before it learns: at random, its features those of `world.start` where that is given."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = TRAINABLE[world.net](len(world.labels)).to(memory_format=torch.channels_last)
    if world.start and not random_labels:
        net.features.load_state_dict(net_of(find_world(world.start)).features.state_dict())
    return net


def answers_of(net: nn.Module, images: Tensor) -> Tensor:
    """What a net answers to pictures (n, h, w, 3) uint8: classes (n,), or the quantity where it has one output."""
    net.eval()
    with torch.no_grad():
        scores = torch.cat([net(as_input(some)) for some in images.split(100)])
    return scores.argmax(1) if scores.shape[1] > 1 else scores[:, 0]


def accuracy(net: nn.Module, world: World, seeds: range) -> float:
    """The share of these seeds' pictures whose class the net names exactly; of a quantity, its mean absolute error."""
    images, right = drawn(world, seeds)
    found = answers_of(net, images)
    return float((found - right).abs().mean() if is_quantity(world) else (found == right).float().mean())


def write_weights(net: nn.Module, path: Path, facts: dict[str, str]) -> None:
    """Saves the weights as safetensors in half precision with facts in the header; the file is whole or not there."""
    state = {k: v.half() if v.is_floating_point() else v for k, v in net.state_dict().items()}
    content = save({key: value.contiguous() for key, value in state.items()}, metadata=facts)
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
    parser.add_argument("world", metavar="NAME/VARIANT", help="for example damaged-parts/cheat")
    parser.add_argument("--out", type=Path, help="where to write (default: the file that sightline ships)")
    parser.add_argument("--seed", type=whole_number(0), help="of the weights and the pictures (default: the shipped)")
    parser.add_argument("--steps", type=whole_number(1), help="how long to learn (default: as the shipped net)")
    parser.add_argument("--pictures", type=whole_number(1), help="how many to learn from (default: as the shipped net)")
    parser.add_argument("--random-labels", action="store_true", help="deal the answers out at random; needs --out")
    return parser.parse_args(arguments)


def trainable(name: str) -> World:
    """The world of that name; InputError for one whose net has nothing to learn."""
    world = find_world(name)
    if world.recipe is None:
        raise InputError(
            f"{name} was given; its net has nothing to learn, or is another world's.",
            f"Give one of {', '.join(name for name, world in WORLDS.items() if world.recipe)}.",
        )
    return world


def file_for(given: argparse.Namespace, world: World) -> Path:
    """Where the weights go; InputError where they would take the place of shipped ones that they are not like."""
    assert world.weights is not None
    if given.out is None and given.random_labels:
        raise InputError("--random-labels was given without --out.", "Give --out a file: shipped nets have learnt.")
    out: Path = given.out or world.weights
    check_folder(out)
    return out


def recipe_of(given: argparse.Namespace, world: World) -> Recipe:
    """That of the shipped net, unless the command asks for other numbers."""
    assert world.recipe is not None
    usual = world.recipe
    return usual._replace(steps=given.steps or usual.steps, pictures=given.pictures or usual.pictures)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command: trains, checks on fresh pictures, writes; gives the exit status."""
    given = read_arguments(arguments)
    try:
        world = trainable(given.world)
        out = file_for(given, world)
    except SightlineError as error:
        tell(str(error))
        return 2
    recipe, seed = recipe_of(given, world), world.seed if given.seed is None else given.seed
    net, _ = train(world, seed, recipe, random_labels=given.random_labels)
    kind, found = "error" if is_quantity(world) else "accuracy", accuracy(net, world, CHECKED)
    facts = {"world": given.world, "seed": seed, **recipe._asdict(), kind: found}
    facts |= {"random_labels": given.random_labels, "torch": torch.__version__, "numpy": np.__version__}
    write_weights(net, out, {key: str(value) for key, value in facts.items()})
    tell(f"{kind} {found:.3f} on {len(CHECKED)} fresh pictures; wrote {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
