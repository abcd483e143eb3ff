"""audit(): over a data set, where a model looks, and whether that is the right place."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sightline.auditing.answer import Audit, Odd
from sightline.auditing.clusters import FEWEST, Clusters, cluster
from sightline.auditing.contrasts import Contrast, contrasts, corrected
from sightline.auditing.looking import Failure, Look, look_at
from sightline.auditing.odd import oddness, pictured
from sightline.auditing.samples import Sample, samples_in
from sightline.errors import InputError, MethodError
from sightline.explain import refusals
from sightline.figures import Figure, mean_of, share_of
from sightline.load import LOADING, Loaded, load
from sightline.measure import read_spec
from sightline.method import AtLeast
from sightline.params import check_number

_SHOWN = 8  # odd pictures


def audit(
    model: Any,
    folder: str | Path,
    *,
    method: str = "integrated-gradients:baseline=mean",
    target: Any = "top",
    masks: str | Path | None = None,
    labels_csv: str | Path | None = None,
    groups: str | Path | None = None,
    against: Any = None,
    random_state: int = 0,
    **options: Any,
) -> Audit:
    """Where `model` looks in all pictures of `folder`, in figures with 95 % intervals over the pictures.

    Explained is each picture's own answer (`target`) by `method`, a name or one with options as in `sightline.compare`.
    `masks`: a folder with a mask of what matters for each picture, of
    the same name. True classes are those of `labels_csv` (file, label), or the names of the folders inside `folder`.
    `groups`: a table (file, group) of what is to be compared. `against`: another model, asked the same. The other options
    are those of `load` and `explain`. A picture that cannot be read is told in `failures`. Raises InputError where none
    can be, and a SightlineError for every mistake.

    Figures, each by name in `figures`: `accuracy`; `border` and `corners`, the share of the attention (the positive part
    of the map) in the frame, a tenth of the shorter side wide, and in the four corners, a fifth of it long; with masks
    `inside_mask`, the share inside of them, beside `mask_area`; `fall_mask` and `changed_mask`, by how much the answer's
    probability falls, and how many answers change, when what the mask covers is painted over; `fall_elsewhere` and
    `changed_elsewhere` when as much is painted over in another place.
    """
    start = time.perf_counter()
    random_state = check_number("random_state", random_state, int, AtLeast(0))
    if not isinstance(method, str) or isinstance(target, list | tuple):
        raise MethodError("several methods or targets were given; an audit asks one question.", "Give one of each.")
    loading = {name: options.pop(name) for name in LOADING if name in options}
    name, own = read_spec(method)
    question = {"method": name, "target": target, **own, **options}
    samples = samples_in(folder, masks=masks, labels_csv=labels_csv, groups=groups)
    first = _audited(load(model, **loading), samples, question, random_state)
    second = None if against is None else _audited(load(against, **loading), samples, question, random_state)
    return Audit(**first, **_compared(first, second, random_state), seconds=time.perf_counter() - start)


def _audited(
    loaded: Loaded, samples: Sequence[Sample], question: Mapping[str, Any], random_state: int
) -> dict[str, Any]:
    """All about one model."""
    with refusals(loaded.name, ()):
        found = list(look_at(loaded, samples, question, random_state))
        looks = [each for each in found if isinstance(each, Look)]
        failures = [each for each in found if isinstance(each, Failure)]
        if not looks:
            raise InputError(
                f"{len(failures)} pictures were given; none can be used: {failures[0].given}", failures[0].fix
            )
        classes = {name: np.flatnonzero([_class(look) == name for look in looks]) for name in _classes(looks)}
        small = np.stack([look.small for look in looks])
        odd = oddness(small, classes)
        shown = [int(i) for i in np.argsort(-np.nan_to_num(odd, nan=-1), kind="stable")[:_SHOWN]]
        pictures = pictured(loaded, [looks[i].sample for i in shown], question, random_state)
    return {
        "model": loaded.name,
        "question": dict(question),
        "random_state": random_state,
        "looks": looks,
        "failures": failures,
        "figures": _figures(looks, random_state),
        "by_class": {name: _figures([looks[i] for i in rows], random_state) for name, rows in classes.items()},
        "mean_maps": {name: np.nanmean(small[rows], axis=0) for name, rows in classes.items()},
        "clusters": _clusters(small, classes, random_state),
        "contrasts": corrected(_contrasts(looks)),
        "odd": [Odd(looks[i], float(odd[i]), picture) for i, picture in zip(shown, pictures)],
    }


def _class(look: Look) -> str:
    """The class that a picture is counted with: the true one where it is known, else the answer."""
    return look.sample.truth if look.sample.truth is not None else look.answer


def _classes(looks: Sequence[Look]) -> list[str]:
    return sorted({_class(look) for look in looks})


def _figures(looks: Sequence[Look], random_state: int) -> dict[str, Figure]:
    right = [look.right for look in looks if look.right is not None]
    figures = {"accuracy": share_of(right)} if right else {}
    for name in looks[0].figures:
        values = np.array([look.figures[name] for look in looks])
        known = values[np.isfinite(values)]
        figures[name] = share_of(known > 0) if name.startswith("changed") else mean_of(known, random_state)
    return figures


def _clusters(small: np.ndarray, classes: Mapping[str, np.ndarray], random_state: int) -> dict[str, Clusters]:
    whole = {name: rows[np.isfinite(small[rows]).all(axis=(1, 2))] for name, rows in classes.items()}
    return {name: cluster(small[rows], random_state) for name, rows in whole.items() if len(rows) >= FEWEST}


def _contrasts(looks: Sequence[Look]) -> list[Contrast]:
    """Right answers against wrong ones, and every two groups, by where the attention lies."""
    found = []
    for told in (_by_right, _by_group):
        groups = {
            name: [look for look in looks if told(look) == name] for name in sorted({told(x) for x in looks} - {""})
        }
        for name in set(looks[0].figures) & {"inside_mask", "border", "corners"}:
            found += contrasts(name, {key: np.array([x.figures[name] for x in some]) for key, some in groups.items()})
    rates = {
        name: np.array([float(x.right) for x in looks if _by_group(x) == name and x.right is not None])
        for name in sorted({_by_group(x) for x in looks} - {""})
    }
    return found + contrasts("accuracy", rates)


def _by_right(look: Look) -> str:
    return "" if look.right is None else "right" if look.right else "wrong"


def _by_group(look: Look) -> str:
    return look.sample.group or ""


def _compared(first: Mapping[str, Any], second: Mapping[str, Any] | None, random_state: int) -> dict[str, Any]:
    """How much more the first model has of each figure than the second, picture by picture; and how alike their maps."""
    if second is None:
        return {"against": None, "differences": {}}
    others = {look.sample.path: look for look in second["looks"]}
    pairs = [(look, others[look.sample.path]) for look in first["looks"] if look.sample.path in others]
    names = set(first["figures"]) & set(second["figures"]) - {"accuracy", "mask_area"}
    differences = {
        name: mean_of([a.figures[name] - b.figures[name] for a, b in pairs], random_state) for name in sorted(names)
    }
    if "accuracy" in first["figures"]:
        differences["accuracy"] = mean_of([float(bool(a.right)) - float(bool(b.right)) for a, b in pairs], random_state)
    alike = [np.corrcoef(a.small.ravel(), b.small.ravel())[0, 1] for a, b in pairs if a.small.std() and b.small.std()]
    differences["map_correlation"] = mean_of(alike, random_state)
    return {"against": Audit(**second, against=None, differences={}, seconds=0.0), "differences": differences}
