"""What the figures of an audit say in words; each sentence carries the figures that it rests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from sightline.auditing.clusters import Clusters
from sightline.auditing.contrasts import Contrast
from sightline.auditing.places import border, corners
from sightline.figures import Figure

_MUCH = 2.0  # times the share that a map would have that is the same everywhere
_LARGE = 0.33  # a Cliff's delta that is no small effect (Romano et al. 2006)
_CHANCE = 0.05


def findings(
    figures: Mapping[str, Figure], compared: Sequence[Contrast], clusters: Mapping[str, Clusters]
) -> list[str]:
    """The sentences, the gravest first."""
    told = [*_of_masks(figures), *_of_places(figures), *_of_clusters(clusters), *_of_contrasts(compared)]
    return told or [
        "Nothing stands out: no masks were given, and the attention is neither in the corners nor on the border."
    ]


def _of_masks(figures: Mapping[str, Figure]) -> list[str]:
    if "inside_mask" not in figures:
        return []
    inside, size = figures["inside_mask"], figures["mask_area"]
    told = [f"{_percent(inside)} of the attention lies inside the masks, which cover {size.mean:.1%} of the pictures."]
    if "changed_mask" in figures:
        here, there = figures["changed_mask"], figures["changed_elsewhere"]
        uses = here.low > there.high
        said = "the answers rest on it" if uses else "no sign that the answers rest on it"
        told.append(
            f"Painting over what the masks cover changes {_percent(here)} of the answers, as much elsewhere "
            f"{_percent(there)}: {said}."
        )
        if not uses and inside.high < _MUCH * size.mean:
            told.insert(
                0, "The model does not look at what the masks cover, and does not need it: look for what it uses."
            )
    return told


def _of_places(figures: Mapping[str, Figure]) -> list[str]:
    told = []
    for name, place, drawn in (("corners", "in the corners", corners), ("border", "on the border", border)):
        area = float(np.mean(drawn(100, 100)))
        if figures[name].low > _MUCH * area:
            told.append(
                f"{_percent(figures[name])} of the attention lies {place}, {area:.0%} of the picture: look there for a "
                "tag, a watermark or a frame."
            )
    return told


def _of_clusters(clusters: Mapping[str, Clusters]) -> list[str]:
    several = {name: found for name, found in clusters.items() if found.count > 1}
    return [
        f"The maps of class {name!r} fall into {found.count} groups, of {_listed(np.bincount(found.member))} pictures "
        f"(silhouette {found.silhouette:.2f}): see whether each is another reason, or one reason in another place."
        for name, found in several.items()
    ]


def _of_contrasts(compared: Sequence[Contrast]) -> list[str]:
    return [
        f"{each.first} and {each.second} differ in {each.figure} by {each.difference:+.3f} (Cliff's delta "
        f"{each.effect:+.2f}, corrected p {each.p:.2g})."
        for each in compared
        if each.p < _CHANCE and abs(each.effect) > _LARGE
    ]


def _percent(figure: Figure) -> str:
    return f"{figure.mean:.0%} ({figure.low:.0%} to {figure.high:.0%})"


def _listed(counts: np.ndarray) -> str:
    return ", ".join(str(count) for count in counts)
