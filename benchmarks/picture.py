"""The picture of the table: what a method costs in its limit, by us and by the peers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from benchmarks.table import OURS, Row, parse

PAGE = Path(__file__).with_name("results.png")
ROWS = Path(__file__).with_name("results.jsonl")
SHOWN = ("torch resnet50", "torch mobilenet_v2", "Keras/TensorFlow MobileNetV2")  # those with peers, at batch 1
COLOURS = {OURS: "#0b6e8a", "captum": "#e0a13a", "pytorch-grad-cam": "#c8553d", "torchcam": "#8a6fae"}
COLOURS |= {"tf-keras-vis": "#6b8e4e", "a loop": "#9a9a9a"}


def draw(rows: Sequence[Row], path: Path = PAGE) -> None:
    """Bars of cost / limit on a logarithmic scale, a panel for each model; those without rows are left out."""
    panels = [(model, found) for model in SHOWN if (found := _shown(rows, model))]
    heights = [len(found) + len({r.method for r in found}) for _, found in panels]
    figure, axes = plt.subplots(
        len(panels),
        figsize=(8, 0.8 + 0.21 * sum(heights)),
        height_ratios=heights,
        sharex=True,
        layout="constrained",
        squeeze=False,
    )
    for (model, found), axis in zip(panels, axes[:, 0]):
        _panel(axis, model, found)
    axes[-1, 0].set_xlabel("time / time of the bare passes that the method needs (logarithmic; 1 is the limit)")
    named = [kind for kind in COLOURS if any(_kind(r) == kind for _, found in panels for r in found)]
    handles = [plt.Rectangle((0, 0), 1, 1, color=COLOURS[kind]) for kind in named]
    figure.legend(handles, named, loc="outside upper center", ncols=len(named), frameon=False, fontsize=8)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _shown(rows: Sequence[Row], model: str) -> list[Row]:
    """The rows of a model at batch 1 of the methods that a peer has too, whole calls alone."""
    own = [r for r in rows if r.model == model and r.batch == 1 and _kind(r) in COLOURS and "alone" not in r.by]
    both = {r.method for r in own if _kind(r) != OURS}
    return [r for r in own if r.method in both]


def _kind(row: Row) -> str:
    return row.by.partition(",")[0]


def _panel(axis: Axes, model: str, rows: Sequence[Row]) -> None:
    y, ticks = 0.0, dict[str, list[float]]()
    for method in dict.fromkeys(r.method for r in rows):
        for row in (r for r in rows if r.method == method):
            axis.barh(y, row.ratio, height=0.86, color=COLOURS[_kind(row)])
            axis.text(row.ratio * 1.04, y, _figure(row.ratio), va="center", fontsize=7)
            ticks.setdefault(method, []).append(y)
            y += 1
        y += 0.8
    axis.set_yticks([sum(at) / len(at) for at in ticks.values()], list(ticks), fontsize=8)
    axis.set(xscale="log", title=f"{model}, one image")
    axis.set_xlim(0.5, max(10.0, axis.get_xlim()[1] * 1.6))
    axis.title.set(fontsize=9, ha="left", position=(0, 1))
    axis.set_xticks(ticks := [t for t in (1, 2, 5, 10, 100, 1000) if t < axis.get_xlim()[1]], map(str, ticks))
    axis.axvline(1, color="black", linewidth=1)
    axis.tick_params(axis="y", length=0)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.invert_yaxis()


def _figure(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:,.0f}"


if __name__ == "__main__":
    draw(parse(ROWS.read_text(encoding="utf-8")))
