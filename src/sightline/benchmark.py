"""benchmark(): methods × metrics on a world, whose right answer is known."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

import numpy as np

from sightline.board import Board, board
from sightline.compare import measured_by
from sightline.errors import InputError
from sightline.load import load
from sightline.measurement import Measurement
from sightline.method import AtLeast
from sightline.metric import find_metric
from sightline.params import check_number
from sightline.worlds import WORLDS, Drawing, World, find_world

SILLY = ("random", "gaussian", "edges")  # maps that have not seen the model: what every other has to be better than
METHODS = (
    *("gradient", "smoothgrad", "smoothgrad:form=squared", "integrated-gradients:baseline=black"),
    *(
        "integrated-gradients:baseline=mean",
        "guided-backprop",
        "deconvnet",
        "grad-cam",
        "grad-cam-plus-plus",
        "layer-cam",
    ),
    *("eigen-cam", "lrp-epsilon-plus-flat", "occlusion"),
)
METRICS = (
    *(
        "deletion",
        "insertion",
        "road:steps=4",
        "energy-pointing-game",
        "relevance-rank-accuracy",
        "sparseness",
        "completeness",
    ),
    "max-sensitivity",
)
FEW = 16  # pictures for a metric that asks the method again and again


def benchmark(
    world: str = "fish-scales",
    *,
    count: int = 64,
    method: Sequence[str] = METHODS,
    metric: Sequence[str] = METRICS,
    random_state: int = 0,
) -> Board:
    """The table methods × metrics on `count` pictures of a world that its nets were not trained on.

    Every net of the world's variant that was trained from another seed is asked; intervals are over nets and pictures.
    `method` and `metric` are as in `sightline.compare`; the rows random, gaussian and edges are always there. A metric
    that asks the method again for changed pictures is measured on the first 16 of those whose answer is known. Pictures
    in which nothing is to be found (a sound part) are left out. Raises a SightlineError for every mistake.
    """
    count = check_number("count", count, int, AtLeast(1))
    name, found = _full_name(world), find_world(world)
    drawings = list(islice(_with_something(found, random_state), count))
    rows = tuple(dict.fromkeys([*method, *SILLY]))
    nets = [load(f"world:{each}") for each in trained(name)]
    asked = {"random_state": random_state}
    measured = {row: [_measured(row, net, drawings, metric, asked) for net in nets] for row in rows}
    facts = {"world": name, "nets": trained(name), "pictures": count, "random_state": random_state}
    several = f"{len(nets)} nets, " if len(nets) > 1 else ""
    return board(f"{name}: {several}{count} pictures", measured, facts, random_state)


def trained(name: str) -> list[str]:
    """The world's nets, each of another training seed."""
    return [full for full in WORLDS if re.fullmatch(re.escape(name) + r"(-\d+)?", full)]


def _full_name(world: str) -> str:
    found = find_world(world)
    return next(full for full, each in WORLDS.items() if each is found)


def _with_something(world: World, random_state: int) -> Iterable[Drawing]:
    """Pictures that hold something to find; the seeds of training lie above these."""
    for seed in range(random_state * 10_000, (random_state + 1) * 10_000):
        drawing = world.draw(seed, size=world.size)
        if drawing.mask.any():
            yield drawing
    raise InputError(f"the world has fewer pictures than asked for in seed {random_state}.", "Ask for fewer.")


def _measured(
    row: str, net: Any, drawings: Sequence[Drawing], metrics: Sequence[str], asked: dict[str, Any]
) -> list[Measurement]:
    """All metrics of one method on one net; the dear ones on the first few pictures."""
    dear = [each for each in metrics if "again" in find_metric(read_name(each)).needs]
    cheap = [each for each in metrics if each not in dear]
    found = []
    for some, few in ((cheap, drawings), (dear, drawings[:FEW])):
        if some:
            images, masks = [d.image for d in few], np.stack([d.mask for d in few])
            found += measured_by(row, net, images, {**asked, "metric": some, "masks": masks})
    return found


def read_name(spec: str) -> str:
    """The name in "name:options"."""
    return spec.partition(":")[0]
