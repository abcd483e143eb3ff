"""Methods × metrics in one table: as text, Markdown, CSV, a picture."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sightline import pictures
from sightline.errors import InputError
from sightline.figures import Figure, mean_of, mean_over_seeds
from sightline.measurement import Measurement
from sightline.metric import METRICS
from sightline.pictures.colour import colour_table
from sightline.pictures.layout import INK, PAPER, framed, table, text_block, under

_FIRST, _CELL = 290, 150  # pixels: the names of rows, each cell
_SHADES = "cividis"
_PALE = 0.55  # how much white is mixed in, so that text can be read


@dataclass(frozen=True, eq=False)
class Board:
    """What each metric (a column) says of each method (a row), with 95 % intervals over images and training seeds.

    `cells` (row, column) -> Figure; `seconds` row -> what its maps cost, an image; `protocols` column -> the options of the
    metric; `facts` what else it takes to make it again.
    """

    title: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: Mapping[tuple[str, str], Figure]
    seconds: Mapping[str, Figure]
    protocols: Mapping[str, Mapping[str, Any]]
    facts: Mapping[str, Any]

    def best(self, column: str) -> set[str]:
        """The rows that no other row is surely better than: whose interval reaches that of the best mean."""
        signed = {row: self._signed(row, column) for row in self.rows}
        known = {row: ends for row, ends in signed.items() if ends is not None}
        if not known or METRICS[column].better == "neither":
            return set()
        least = max(known.values(), key=lambda ends: ends[1])[0]
        return {row for row, ends in known.items() if ends[2] >= least}

    def _signed(self, row: str, column: str) -> tuple[float, float, float] | None:
        """Low end, mean and high end, the larger the better; None where there is no figure."""
        figure = self.cells.get((row, column))
        if figure is None or not math.isfinite(figure.mean):
            return None
        low, high = (end if math.isfinite(end) else figure.mean for end in (figure.low, figure.high))
        better = METRICS[column].better == "higher"
        return (low, figure.mean, high) if better else (-high, -figure.mean, -low)

    def lines(self) -> list[list[str]]:
        """The table as text, its head first; what no other row is surely better than is marked with a star."""
        best = {column: self.best(column) for column in self.columns}
        head = ["method", *(f"{c} {_arrow(c)}".strip() for c in self.columns), "seconds an image"]
        return [head] + [
            [
                row,
                *(self._text(row, c) + ("*" if row in best[c] else "") for c in self.columns),
                _told(self.seconds[row]),
            ]
            for row in self.rows
        ]

    def _text(self, row: str, column: str) -> str:
        return _told(self.cells.get((row, column), Figure(math.nan, math.nan, math.nan, 0)))

    def markdown(self) -> str:
        """The table in Markdown, with its title and protocols."""
        head, *rows = self.lines()
        made = [head, ["---"] * len(head), *rows]
        lines = ["| " + " | ".join(row) + " |" for row in made]
        protocols = [f"- {c}: {_options(self.protocols[c])}" for c in self.columns]
        legend = "Mean ± half of the 95 % interval. A star: no other row is surely better."
        return "\n".join([f"# {self.title}", "", *lines, "", legend, "", *protocols, ""])

    def csv(self) -> str:
        """One line for each cell: method, metric, mean, low, high, count."""
        buffer = StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(["method", "metric", "mean", "low", "high", "count"])
        for (row, column), f in self.cells.items():
            writer.writerow([row, column, f.mean, f.low, f.high, f.count])
        for row, f in self.seconds.items():
            writer.writerow([row, "seconds", f.mean, f.low, f.high, f.count])
        return buffer.getvalue()

    def told(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        return {
            "title": self.title,
            **self.facts,
            "protocols": {column: dict(options) for column, options in self.protocols.items()},
            "methods": {
                row: {c: self.cells[row, c].facts() for c in self.columns if (row, c) in self.cells}
                | {"seconds": self.seconds[row].facts()}
                for row in self.rows
            },
        }

    def picture(self) -> Image.Image:
        """The table as a picture: in each column the better value is the lighter, and a star marks the best."""
        head, *rows = self.lines()
        cells = [[_cell(name, i, bold=True) for i, name in enumerate(head)]]
        shades = {column: self._shades(column) for column in self.columns}
        for name, line in zip(self.rows, rows):
            tints = [PAPER, *(shades[c].get(name, PAPER) for c in self.columns), PAPER]
            cells.append([_cell(text, i, paper=tint) for i, (text, tint) in enumerate(zip(line, tints))])
        legend = (
            "Mean ± half of the 95 % interval; the lighter the better in its column. A star: none is surely better."
        )
        parts = [text_block(self.title, 1200, size=20, bold=True), table(cells, 2), text_block(legend, 1200)]
        return framed(under(parts, 12), 16)

    def _shades(self, column: str) -> dict[str, tuple[int, int, int]]:
        """A pale colour for each row, by where its mean lies between the worst and the best."""
        means = {row: ends[1] for row in self.rows if (ends := self._signed(row, column)) is not None}
        if METRICS[column].better == "neither" or not means:
            return {}
        low, span = min(means.values()), max(means.values()) - min(means.values())
        colours = colour_table(_SHADES)
        found = {}
        for row, mean in means.items():
            colour = colours[round((mean - low) / span * (len(colours) - 1)) if span else -1]
            red, green, blue = (round(v + (255 - v) * _PALE) for v in colour.tolist())
            found[row] = (red, green, blue)
        return found

    def save(self, path: str | Path) -> Path:
        """Write .md, .csv, .json or .png, whole or not at all; InputError for another ending."""
        path = Path(path)
        texts: dict[str, Callable[[], str]] = {
            ".md": self.markdown,
            ".csv": self.csv,
            ".json": lambda: json.dumps(self.told(), indent=2),
        }
        ending = path.suffix.lower()
        if ending == ".png":
            pictures.save_png(self.picture(), path, {"title": self.title})
        elif ending in texts:
            text = texts[ending]()
            pictures.write_whole(path, lambda file: file.write(text.encode()))
        else:
            raise InputError(f"{path} was given; its ending is not known.", "End it in .md, .csv, .json, .png.")
        return path


def board(
    title: str, measured: Mapping[str, Sequence[Sequence[Measurement]]], facts: Mapping[str, Any], random_state: int = 0
) -> Board:
    """The table of row -> for each training seed, its measurements; several of a metric are put together."""
    first = next(iter(measured.values()))[0]
    columns = tuple(dict.fromkeys(m.metric for m in first))
    cells = {
        (row, column): mean_over_seeds([_values(found, column) for found in seeds], random_state)
        for row, seeds in measured.items()
        for column in columns
    }
    seconds = {
        row: mean_of([m.explanation.seconds / len(m.values) for found in seeds for m in found[:1]], random_state)
        for row, seeds in measured.items()
    }
    return Board(title, tuple(measured), columns, cells, seconds, {m.metric: m.protocol for m in first}, facts)


def _values(found: Sequence[Measurement], column: str) -> np.ndarray:
    return np.concatenate([m.values for m in found if m.metric == column] or [np.zeros(0)])


def _arrow(column: str) -> str:
    return {"higher": "↑", "lower": "↓", "neither": ""}[METRICS[column].better]


def _told(figure: Figure) -> str:
    if not math.isfinite(figure.mean):
        return "–"
    half = (figure.high - figure.low) / 2
    return f"{figure.mean:.3g}" + (f" ± {half:.2g}" if math.isfinite(half) else "")


def _options(protocol: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in protocol.items()) or "no options"


def _cell(text: str, column: int, *, bold: bool = False, paper: tuple[int, int, int] = PAPER) -> Image.Image:
    width = _CELL if column else _FIRST
    block = text_block(text, width, bold=bold, paper=paper, ink=INK, padding=4)
    sheet = Image.new("RGB", (width, max(block.height, 28)), paper)
    sheet.paste(block, (0, 0))
    return sheet
