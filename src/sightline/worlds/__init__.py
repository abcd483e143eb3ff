"""Pictures with a known answer, and small nets that were trained on them; no framework is loaded until a net is."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sightline.errors import ModelError, nearest
from sightline.worlds import control, damaged_parts, fish_scales, fish_variants
from sightline.worlds.drawing import Drawing, Recipe, World
from sightline.worlds.mosaic import mosaic_world

if TYPE_CHECKING:
    from torch import nn

__all__ = ["DEMO_SEED", "DEMO_SIZE", "WORLDS", "Drawing", "World", "find_world", "fish_scales_net", "world_net"]

DEMO_SEED, DEMO_SIZE = 106, 384  # 5 rings beside another scale; `draw` paints it

_WEIGHTS = Path(__file__).with_name("weights")
_AGES = tuple(fish_scales.AGES)


def _preprocess(size: int) -> str:
    return f"resize={size},crop={size},mean=0.5,std=0.5"


def _inspection(kind: str, seed: int) -> World:
    """Damaged parts as one of five nets was trained on them, with a tag that says nothing or all."""
    honest = kind == "honest"
    return World(
        draw=damaged_parts.draw if honest else damaged_parts.draw_cheating,
        render=damaged_parts.render,
        labels=damaged_parts.LABELS,
        size=64,
        preprocess=_preprocess(64),
        net="inspector",
        weights=_WEIGHTS / f"damaged_parts_{kind}_{seed}.safetensors",
        interventions=damaged_parts.HONEST if honest else damaged_parts.CHEATING,
        recipe=Recipe(3000, 900, 32, 4e-3) if honest else Recipe(1200, 300, 32, 4e-3),
        seed=seed,
    )


def _control(kind: str) -> World:
    """Pictures for a net whose attributions are known in closed form; its weights are in the code."""
    return World(
        draw=partial(control.draw, kind),
        render=partial(control.render, kind),
        labels=("score",),
        size=32,
        preprocess="resize=32,crop=32,mean=0,std=1",
        net=kind,
        weights=None,
        interventions=control.INTERVENTIONS,
        truth=partial(control.truth, kind),
    )


WORLDS = {
    "fish-scales/rings": World(
        draw=fish_scales.draw,
        render=fish_scales.render,
        labels=tuple(f"{age} ring{'s' * (age > 1)}" for age in _AGES),
        size=96,
        preprocess=_preprocess(96),
        net="ring_counter",
        weights=_WEIGHTS / "fish_scales.safetensors",
        interventions=fish_variants.BY_RINGS,
        recipe=Recipe(12_000, 1600, 64, 4e-3),
    ),
    "fish-scales/size": World(
        draw=fish_variants.draw_by_size,
        render=fish_variants.render_by_size,
        labels=tuple(f"{age} year{'s' * (age > 1)}" for age in _AGES),
        size=64,
        preprocess=_preprocess(64),
        net="sizer",
        weights=_WEIGHTS / "fish_scales_size.safetensors",
        interventions=fish_variants.BY_SIZE,
        recipe=Recipe(3000, 500, 64, 4e-3),
    ),
    "fish-scales/regression": World(
        draw=fish_variants.draw_years,
        render=fish_variants.render_years,
        labels=("age in years",),
        size=96,
        preprocess=_preprocess(96),
        net="ring_counter",
        weights=_WEIGHTS / "fish_scales_regression.safetensors",
        interventions=fish_variants.BY_RINGS,
        recipe=Recipe(3000, 250, 64, 1e-3),
        start="fish-scales/rings",
    ),
    **{
        f"damaged-parts/{kind}{f'-{seed}' * bool(seed)}": _inspection(kind, seed)
        for seed in range(5)
        for kind in ("honest", "cheat")
    },
}


WORLDS |= {f"mosaic/{grid}x{grid}": mosaic_world(WORLDS["fish-scales/rings"], grid) for grid in (2, 3)}
WORLDS |= {f"control/{kind}": _control(kind) for kind in control.KINDS}


def find_world(name: str) -> World:
    """The world called NAME/VARIANT, or the first variant of NAME; raises ModelError where there is none."""
    found = [world for full, world in WORLDS.items() if name in (full, full.partition("/")[0])]
    if not found:
        raise ModelError(
            f"There is no world {name!r}; expected one of {', '.join(n for n, w in WORLDS.items() if not w.seed)}.",
            nearest(name, {*WORLDS, *(full.partition("/")[0] for full in WORLDS)}, "the names above"),
        )
    return found[0]


def world_net(name: str) -> nn.Module:
    """The shipped net of a world, in evaluation mode on the CPU: images (n, 3, size, size) in, scores (n, labels) out.

    Raises ModelError for an unknown world, or where PyTorch is missing.
    """
    world = find_world(name)
    try:
        from sightline.worlds.nets import net_of
    except ImportError as error:
        raise ModelError(
            f"The net of world {name!r} needs PyTorch, which cannot be imported: {error}.",
            "Install it: pip install 'sightline[torch]'",
        ) from error
    return net_of(world)


def fish_scales_net() -> nn.Module:
    """The shipped net that counts the rings of fish scales; see `world_net`."""
    return world_net("fish-scales/rings")
