"""The odd pictures: those whose maps are least like the mean of their class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from sightline import pictures
from sightline.auditing.samples import Sample
from sightline.explain import explain
from sightline.explanation import Explanation
from sightline.load import Loaded
from sightline.pictures.layout import fitted
from sightline.pictures.overlay import as_rgb, visible

_SIDE = 240  # pixels of a picture in the page


def oddness(small: np.ndarray, classes: Mapping[str, np.ndarray]) -> np.ndarray:
    """For each small map (n, h, w) how little it is like the mean of the others of its class: 1 - correlation, (n,).

    NaN for the only one of its class, and for a map that is the same everywhere.
    """
    flat = small.reshape(len(small), -1).astype(np.float64)
    found = np.full(len(small), np.nan)
    for rows in classes.values():
        if len(rows) < 2:
            continue
        whole = np.nansum(flat[rows], axis=0)
        for i in rows:
            rest = (whole - np.nan_to_num(flat[i])) / (len(rows) - 1)
            if np.isfinite(flat[i]).all() and flat[i].std() and rest.std():
                found[i] = 1 - np.corrcoef(flat[i], rest)[0, 1]
    return found


def pictured(
    loaded: Loaded, samples: Sequence[Sample], question: Mapping[str, Any], random_state: int
) -> list[Image.Image]:
    """Each picture with its map over it, small."""
    return [_overlay(loaded, sample, question, random_state) for sample in samples]


def _overlay(loaded: Loaded, sample: Sample, question: Mapping[str, Any], random_state: int) -> Image.Image:
    found = explain(loaded, str(sample.path), **question, random_state=random_state)
    assert isinstance(found, Explanation)
    heat, seen = found.on_original(0), found.geometries[0].seen()
    scale = pictures.scale_of(heat[seen])
    mixed = pictures.overlay(as_rgb(visible(found.pictures[0].pixels)), heat, scale, seen=seen)
    return Image.fromarray(mixed).resize(fitted(heat.shape, _SIDE), Image.Resampling.LANCZOS)
