"""`sightline methods`, `metrics`, `layers` and `labels`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from typing import Any

import sightline as sl
from sightline.cli.explaining import load
from sightline.cli.tables import print_json, print_line, print_table
from sightline.errors import ModelError
from sightline.layers import last_grid


def list_methods(*, as_json: bool) -> None:
    """Every method of the registry."""
    found = sl.methods()
    if as_json:
        for method in found:
            print_json(method)
        return
    columns = ("name", "family", "needs", "cost", "options", "source")
    print_table(
        columns, [[_cell(method["params" if c == "options" else c]) for c in columns] for method in found], fold=True
    )


def list_metrics(*, as_json: bool) -> None:
    """Every metric of the registry."""
    found = sl.metrics()
    if as_json:
        for metric in found:
            print_json(metric)
        return
    columns = ("name", "family", "better", "needs", "options", "protocols", "source")
    keys = {"options": "params", "protocols": "presets"}
    rows = [[_cell(metric[keys.get(c, c)]) for c in columns] for metric in found]
    print_table(columns, rows, fold=True)


def list_layers(model: str, options: Mapping[str, Any]) -> None:
    """The layers in the order of a pass, the one that a CAM takes by default marked."""
    loaded = load(model, options)
    with redirect_stdout(sys.stderr):
        found = sl.layers(loaded)
    chosen = last_grid(found) if any(layer.weighted and layer.grid for layer in found) else None
    rows = [
        (layer.name or "(the image)", layer.kind, _sides(layer.shape), _sides(layer.grid), "CAM" * (layer is chosen))
        for layer in found
    ]
    print_table(("name", "kind", "output", "grid", "default"), rows)


def list_labels(model: str, options: Mapping[str, Any]) -> None:
    """Index and name of each class, a line each; ModelError where the model names none."""
    loaded = load(model, options)
    if not loaded.labels:
        raise ModelError(f"{model} was given; it does not name its classes.", "Name them: explain --labels FILE.")
    for index, name in enumerate(loaded.labels):
        print_line(f"{index}\t{name}")


def _sides(shape: tuple[int, ...] | None) -> str:
    return " x ".join(map(str, shape)) if shape else ""


def _cell(value: Any) -> str:
    if isinstance(value, Mapping) and any(isinstance(each, Mapping) for each in value.values()):
        return ", ".join(value)
    if isinstance(value, Mapping):
        return " ".join(f"{name}={default}" for name, default in value.items())
    return ", ".join(value) if isinstance(value, list) else str(value)
