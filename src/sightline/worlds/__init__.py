"""Pictures with a known answer, and small nets that were trained on them; no framework is loaded until a net is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sightline.errors import ModelError, nearest
from sightline.worlds import fish_scales
from sightline.worlds.fish_scales import Drawing

if TYPE_CHECKING:
    from torch import nn

DEMO_SEED, DEMO_SIZE = 106, 384  # 5 rings beside another scale; `draw` paints it


@dataclass(frozen=True)
class World:
    """What is needed to draw the pictures of a world and to load the net that was trained on them.

    `draw(seed, size=...)` paints a picture whose class is `class_of` it; `preprocess` is how the net takes pictures.
    """

    draw: Callable[..., Drawing]
    class_of: Callable[[Drawing], int]
    labels: tuple[str, ...]
    size: int
    preprocess: str
    weights: Path


def _class_of_age(drawing: Drawing) -> int:
    return drawing.age - 1


WORLDS = {
    "fish-scales/rings": World(
        draw=fish_scales.draw,
        class_of=_class_of_age,
        labels=tuple(f"{age} ring{'s' * (age > 1)}" for age in fish_scales.AGES),
        size=96,
        preprocess="resize=96,crop=96,mean=0.5,std=0.5",
        weights=Path(__file__).with_name("weights") / "fish_scales.safetensors",
    )
}


def find_world(name: str) -> World:
    """The world called NAME/VARIANT, or the first variant of NAME; raises ModelError where there is none."""
    found = [world for full, world in WORLDS.items() if name in (full, full.partition("/")[0])]
    if not found:
        raise ModelError(
            f"There is no world {name!r}; expected one of {', '.join(WORLDS)}.",
            nearest(name, WORLDS, "the names above"),
        )
    return found[0]


def world_net(name: str) -> nn.Sequential:
    """The shipped net of a world, in evaluation mode on the CPU: images (n, 3, size, size) in, scores (n, labels) out.

    Raises ModelError for an unknown world, or where PyTorch is missing.
    """
    world = find_world(name)
    try:
        from sightline.worlds.nets import trained
    except ImportError as error:
        raise ModelError(
            f"The net of world {name!r} needs PyTorch, which cannot be imported: {error}.",
            "Install it: pip install 'sightline[torch]'",
        ) from error
    return trained(world.weights, len(world.labels))


def fish_scales_net() -> nn.Sequential:
    """The shipped net that counts the rings of fish scales; see `world_net`."""
    return world_net("fish-scales/rings")
