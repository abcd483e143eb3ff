"""Explanations as .npz: arrays and JSON, no pickle."""

from __future__ import annotations

import json
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from sightline.errors import InputError
from sightline.explanation import Explanation
from sightline.images import Geometry, Picture

_PLAIN = [
    "target",
    "top",
    "method",
    "model",
    "layer",
    "params",
    "random_state",
    "reduce",
    "smooth",
    "head",
    "preprocessing",
    "seconds",
]


def arrays_of(e: Explanation) -> dict[str, np.ndarray]:
    """All of an explanation as arrays; what is no array is in `facts`, as JSON."""
    facts = {name: getattr(e, name) for name in _PLAIN} | {"notes": list(e.notes), "versions": dict(e.versions)}
    facts |= {"weights": e.hash_weights(), "names": [p.name for p in e.pictures]}
    facts["geometries"] = [asdict(g) for g in e.geometries]
    return {
        "map": e.map,
        "attribution": e.attribution,
        "score": e.score,
        "facts": np.array(json.dumps(facts)),
        **{f"check_{name}": values for name, values in e.checks.items()},
        **{f"picture_{i}": p.pixels for i, p in enumerate(e.pictures)},
    }


def load_explanation(path: str | Path) -> Explanation:
    """The explanation that `Explanation.save` wrote to an .npz; InputError for any other file."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        facts: dict[str, Any] = json.loads(str(arrays["facts"]))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path} was given; it is no explanation: {error}", "Give an .npz that sightline saved."
        ) from None
    weights, names = facts.pop("weights"), facts.pop("names")
    geometries = [{k: tuple(v) for k, v in g.items()} for g in facts.pop("geometries")]
    return Explanation(
        map=arrays["map"],
        attribution=arrays["attribution"],
        score=arrays["score"],
        checks={name.removeprefix("check_"): a for name, a in arrays.items() if name.startswith("check_")},
        notes=tuple(facts.pop("notes")),
        pictures=tuple(Picture(arrays[f"picture_{i}"], name) for i, name in enumerate(names)),
        geometries=tuple(Geometry(**g) for g in geometries),
        hash_weights=lambda: weights,
        **facts,
    )
