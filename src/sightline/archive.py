"""Explanations as .npz: arrays and JSON, no pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from sightline.errors import InputError
from sightline.images import Geometry, Picture

_ARRAYS = ("map", "attribution", "score")
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
    "computed",
]


def arrays_of(fields: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The fields of an explanation as arrays; what is no array is in `facts`, as JSON."""
    facts = {name: fields[name] for name in _PLAIN}
    facts |= {"notes": list(fields["notes"]), "versions": dict(fields["versions"]), "weights": fields["hash_weights"]()}
    facts |= {"names": [p.name for p in fields["pictures"]], "geometries": [asdict(g) for g in fields["geometries"]]}
    return {
        **{name: fields[name] for name in _ARRAYS},
        "facts": np.array(json.dumps(facts)),
        **{f"check_{name}": values for name, values in fields["checks"].items()},
        **{f"picture_{i}": p.pixels for i, p in enumerate(fields["pictures"])},
    }


def fields_of(path: str | Path) -> dict[str, Any]:
    """The fields of the explanation in an .npz; InputError for any other file."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        return _fields(arrays, json.loads(str(arrays["facts"])))
    except Exception as error:  # NumPy and zip raise almost every type there is, depending on where a file is damaged
        raise InputError(
            f"{path} was given; it is no explanation ({type(error).__name__}: {error}).",
            "Give an .npz that sightline saved.",
        ) from error


def _fields(arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> dict[str, Any]:
    geometries = [{side: tuple(value) for side, value in g.items()} for g in facts["geometries"]]
    return {
        **{name: facts[name] for name in _PLAIN},
        **{name: arrays[name] for name in _ARRAYS},
        "checks": {name.removeprefix("check_"): a for name, a in arrays.items() if name.startswith("check_")},
        "notes": tuple(facts["notes"]),
        "versions": facts["versions"],
        "pictures": tuple(Picture(arrays[f"picture_{i}"], name) for i, name in enumerate(facts["names"])),
        "geometries": tuple(Geometry(**g) for g in geometries),
        "hash_weights": lambda: facts["weights"],
    }
