"""The table of costs in the README, between its marks, from the rows of a whole run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.ours import ALONE
from benchmarks.table import OURS, Row

PAGE = Path(__file__).parents[1] / "README.md"
START, END = "<!-- benchmarks -->\n", "<!-- /benchmarks -->"
RESNET, KERAS = "torch resnet50", "Keras/TensorFlow MobileNetV2"
SHOWN = (
    *(
        (RESNET, m)
        for m in ("gradient", "guided-backprop", "grad-cam", "eigen-cam", "integrated-gradients", "smoothgrad")
    ),
    *((RESNET, m) for m in ("rise", "occlusion", "ablation-cam", "ten methods x five classes")),
    *(("torch mobilenet_v2", m) for m in ("gradient", "grad-cam", "integrated-gradients", "occlusion", "score-cam")),
    *((KERAS, m) for m in ("gradient", "grad-cam", "smoothgrad")),
)


def update(rows: Sequence[Row]) -> None:
    """Put the table between the marks."""
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(START)
    after = rest[rest.index(END) :]
    PAGE.write_text(before + START + _table(rows) + "\n" + after, encoding="utf-8")


def _table(rows: Sequence[Row]) -> str:
    lines = ["| one image | limit | sightline | the method alone | peers |", "| --- | --- | --- | --- | --- |"]
    for model, method in SHOWN:
        found = {r.by: r for r in rows if (r.model, r.batch, r.method) == (model, 1, method)}
        if OURS in found:
            alone = f"{found[ALONE].ratio:.2f}" if ALONE in found else ""
            peers = ", ".join(f"{by} {r.ratio:,.2f}" for by, r in found.items() if not by.startswith(OURS))
            own = found[OURS]
            lines.append(f"| {model}, {method} | {own.limit} | {own.ratio:.2f} | {alone} | {peers} |")
    return "\n".join(lines)
