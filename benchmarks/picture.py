"""The picture of the table: what a method costs in its limit, by us and by the peers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from benchmarks.table import OURS, Row, parse

PAGE = Path(__file__).with_name("results.png")
ROWS = Path(__file__).with_name("results.jsonl")
RESNET, MOBILENET, KERAS = "torch resnet50", "torch mobilenet_v2", "Keras/TensorFlow MobileNetV2"  # those with peers
XPLIQUE = f"{KERAS} beside xplique"
COLOURS = {OURS: "#0b6e8a", "captum": "#e0a13a", "pytorch-grad-cam": "#c8553d", "torchcam": "#8a6fae"}
COLOURS |= {"tf-keras-vis": "#6b8e4e", "xplique": "#c27ba0", "a loop": "#9a9a9a"}


def draw(rows: Sequence[Row], path: Path = PAGE) -> None:
    """Bars of cost / limit on a logarithmic scale, a panel for each model."""
    panels = {model: _shown(rows, model) for model in (RESNET, MOBILENET, KERAS, XPLIQUE)}
    figure, axes = plt.subplot_mosaic(
        [[RESNET, MOBILENET], [KERAS, XPLIQUE]],
        figsize=(11, 8),
        height_ratios=[_height(panels[MOBILENET]), _height(panels[XPLIQUE]) + 2],
        layout="constrained",
    )
    ratios = [row.ratio for found in panels.values() for row in found]
    for model, found in panels.items():
        _panel(axes[model], model, found, min(1.0, *ratios) * 0.8, max(ratios))
    figure.supxlabel("time / time of the bare passes that the method needs; logarithmic, 1 is the limit", fontsize=9)
    named = [kind for kind in COLOURS if any(_kind(r) == kind for found in panels.values() for r in found)]
    handles = [plt.Rectangle((0, 0), 1, 1, color=COLOURS[kind]) for kind in named]
    figure.legend(handles, named, loc="outside upper center", ncols=len(named), frameon=False, fontsize=9)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _height(found: Sequence[Row]) -> float:
    return len(found) + 0.8 * len({r.method for r in found}) + 1


def _shown(rows: Sequence[Row], model: str) -> list[Row]:
    """The rows of a model at batch 1 of the methods that a peer has too, whole calls alone."""
    own = [r for r in rows if r.model == model and r.batch == 1 and _kind(r) in COLOURS and "alone" not in r.by]
    both = {r.method for r in own if _kind(r) != OURS}
    return [r for r in own if r.method in both]


def _kind(row: Row) -> str:
    return row.by.partition(",")[0]


def _panel(axis: Axes, model: str, rows: Sequence[Row], left: float, largest: float) -> None:
    y, at = 0.0, dict[str, list[float]]()
    for method in dict.fromkeys(r.method for r in rows):
        for row in (r for r in rows if r.method == method):
            axis.barh(y, row.ratio, height=0.9, color=COLOURS[_kind(row)])
            axis.text(max(row.ratio, 1) * 1.06, y, _figure(row.ratio), va="center", fontsize=7)
            at.setdefault(method, []).append(y)
            y += 1
        y += 0.8
    axis.set_yticks([sum(each) / len(each) for each in at.values()], list(at), fontsize=8)
    axis.set_ylim(max(y - 0.8, 0.5), -1)
    axis.set(xscale="log", xlim=(left, max(10.0, largest * 2)))
    axis.set_title(f"{model}, one image", fontsize=9, loc="left")
    ticks = [t for t in (1, 2, 5, 10, 100, 1000, 10000) if t < largest * 2]
    axis.set_xticks(ticks, [f"{t:,}" for t in ticks], fontsize=8)
    axis.axvline(1, color="black", linewidth=1)
    axis.tick_params(axis="y", length=0)
    axis.spines[["top", "right", "left"]].set_visible(False)


def _figure(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:,.0f}"


if __name__ == "__main__":
    draw(parse(ROWS.read_text(encoding="utf-8")))
