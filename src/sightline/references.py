"""What targets compare with: other pictures and texts, turned into vectors by the model itself."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from sightline.arrays import to_numpy
from sightline.errors import TargetError
from sightline.inputs import is_input, take
from sightline.layers import find_layer
from sightline.load import Loaded, preprocessing_for
from sightline.similarity import Similar, Similarity
from sightline.targets import Spec, spec_of


def resolved(specs: Sequence[Spec], loaded: Loaded) -> list[Spec]:
    """`specs` in which every `Similar` has its vector; TargetError where it has none."""
    known = [spec_of(spec, loaded.labels) for spec in specs]
    return [_similarity(spec, loaded) if isinstance(spec, Similar) else spec for spec in known]


def _similarity(spec: Similar, loaded: Loaded) -> Similarity:
    if (spec.text is None) == (spec.to is None):
        raise TargetError("sl.Similar was given; expected a picture, a vector or a text.", "Give one of the three.")
    if spec.text is not None:
        return _of_text(spec.text, loaded)
    if isinstance(spec.to, np.ndarray) and spec.to.ndim == 1:
        return Similarity(spec.to, f"a vector of {spec.to.size} numbers", spec.place)
    if hasattr(spec.to, "detach") and len(spec.to.shape) == 1:
        return Similarity(to_numpy(spec.to), f"a vector of {len(spec.to)} numbers", spec.place)
    return _of_picture(spec, loaded)


def _of_text(text: str, loaded: Loaded) -> Similarity:
    if loaded.embed_text is None:
        raise TargetError(
            f"the text {text!r} was given; {loaded.name} has no side for texts that came with it.",
            "Load a model of image and text, such as hf:openai/clip-vit-base-patch32, or give the text's own vector.",
        )
    return Similarity(loaded.embed_text(text), repr(text))


def _of_picture(spec: Similar, loaded: Loaded) -> Similarity:
    given = take(spec.to, loaded.model, None if is_input(spec.to) else preprocessing_for(loaded))
    if len(given.pictures) != 1:
        raise TargetError(f"{len(given.pictures)} pictures were given to compare with.", "Give one for each target.")
    if spec.place is None:
        value, place = loaded.model.run(given.x).outputs, None
    else:
        place = find_layer(loaded.model.places(given.x), spec.place).name
        value = loaded.model.run(given.x, at=[place]).values[place]
    return Similarity(to_numpy(value).ravel(), os.path.basename(given.pictures[0].name), place)  # noqa: PTH119
