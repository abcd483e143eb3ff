"""Writes what the documentation says of methods and metrics from the registries: python docs/make_tables.py"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from sightline import methods, metrics
from sightline.method import METHODS, AtLeast, Method, Names, Sides
from sightline.metric import METRICS, Metric

HERE = Path(__file__).parent
README, METHODS_PAGE, METRICS_PAGE = HERE.parent / "README.md", HERE / "methods.md", HERE / "metrics.md"
BEGIN, END = "<!-- methods -->", "<!-- /methods -->"
HEAD = """# The methods

Written by `docs/make_tables.py` from the registry: change the docstring of a method, not this page. The pictures
show what a MobileNetV2 trained on ImageNet looks at in a photograph of a cat (`docs/make_pictures.py`). It has no
attention: the methods of attention share one picture, of a small transformer that has learnt the colour of a patch.

![Three photographs by ten methods](images/photographs.jpg)

The photographs are derived from those of google-coral/test_data (Apache License 2.0).

Costs are counted in passes of the bare model: F a forward pass, FB a forward pass with the gradient at the image; a
tail is the part of the model above the layer; asked through `explain`, a method that never passes the image itself costs
one F more, which says what the scores are. `reduce` is how the channels of an attribution become one number a
pixel, where it has channels (`reduce=`, `--reduce`). Shapes are those inside a method: k targets of n images; what
`explain` returns is told in [the answer](answer.md). A baseline is `black`, `white`, `mean` (the picture's own mean
colour), `blurred`, `blurred-11x11` (as RISE's insertion), `noise`, a number in the model's input units, an array, or
another picture.
"""
METRICS_HEAD = """# The metrics

Written by `docs/make_tables.py` from the registry: change the docstring of a metric, not this page.

`sl.measure(model, images, metric=[...], method=[...])` gives a `Measurement` for each method, target and metric: a value
for each image, its mean with a standard error, and the whole protocol behind it. An option is written
`"deletion:steps=10,fill=black"`, a published protocol `"deletion:rise-2018"`. Localisation needs masks of what matters,
`masks=[...]`, one an image.

```python
import sightline as sl
from sightline.worlds import find_world

scales = [find_world("fish-scales").draw(seed, size=96) for seed in (7, 8)]
for found in sl.measure(
    "world:fish-scales/rings",
    [scale.image for scale in scales],
    metric=["energy-pointing-game", "pointing-game:tolerance=5"],
    method=["gradient", "edges", "random"],
    masks=[scale.mask for scale in scales],
):
    print(found.metric, found.method, round(found.mean, 2), found.protocol)
```

```text
energy-pointing-game gradient 0.21 {}
pointing-game gradient 1.0 {'tolerance': 5.0}
energy-pointing-game edges 0.16 {}
pointing-game edges 1.0 {'tolerance': 5.0}
energy-pointing-game random 0.13 {}
pointing-game random 0.0 {'tolerance': 5.0}
```

What a number means is told by its controls: `random`, `gaussian` and `edges` are methods that know nothing of the
model. A method that is no better than they are has shown nothing. No metric is a proof: each asks one question, and says
which. Whether a map depends on the model at all is asked by [the check](checks.md).

A metric without an answer for an image (an empty mask, a map of zeros) says NaN there, and the mean is of the others.
`sightline metrics` lists them.
"""
_WORDS = {Sides: "a side in pixels, or height x width", Names: "names of layers"}


def main() -> None:
    """Write the table of the README, and the whole pages of the methods and of the metrics."""
    README.write_text(with_table(README.read_text(encoding="utf-8")), encoding="utf-8")
    METHODS_PAGE.write_text(methods_page(), encoding="utf-8")
    METRICS_PAGE.write_text(metrics_page(), encoding="utf-8")


def with_table(text: str) -> str:
    """The README with the table between its two markers written anew."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{overview()}\n{END}{rest.partition(END)[2]}"


def overview() -> str:
    """A row for each method."""
    rows = [
        (f"[`{m['name']}`](docs/methods.md#{m['name']})", m["summary"].removesuffix("."), m["cost"], cited(m["source"]))
        for m in methods()
    ]
    return table(("method", "what it shows", "cost", "source"), rows)


def methods_page() -> str:
    """A section for each method: its docstring, what it needs and costs, where it is from, its options, a picture."""
    every = [METHODS[m["name"]] for m in methods()]
    rows = [(f"[`{m.name}`](#{m.name})", m.family, needed(m), m.cost, reduction(m)) for m in every]
    head = table(("method", "family", "needs", "cost", "`reduce`"), rows)
    return "\n".join([HEAD, head, "", *(section(m) for m in every)]).rstrip() + "\n"


def metrics_page() -> str:
    """A row and a section for each metric."""
    every = [METRICS[m["name"]] for m in metrics()]
    rows = [(f"[`{m.name}`](#{m.name})", m.family, m.better, ends(m), m.summary.removesuffix(".")) for m in every]
    head = table(("metric", "family", "better", "range", "what it says"), rows)
    return "\n".join([METRICS_HEAD, head, "", *(metric_section(m) for m in every)]).rstrip() + "\n"


def metric_section(m: Metric) -> str:
    """One metric: its docstring, its source, its options and its published protocols."""
    also = f" Also called `{m.also}`." if m.also else ""
    better = "Neither end is better" if m.better == "neither" else f"The {m.better}, the better"
    facts = f"{better}; {ends(m)}. Source: {cited(m.source)}.{also}"
    rows = [(f"`{name}`", f"`{default}`", kind_of(m.hints[name])) for name, default in m.params.items()]
    options = ["", table(("option", "default", "values"), rows)] if rows else []
    told = [
        (f"`{m.name}:{name}`", ", ".join(f"`{k}={v}`" for k, v in each.items())) for name, each in m.presets.items()
    ]
    presets = ["", table(("published protocol", "options"), told)] if told else []
    return "\n".join([f"## {m.name}", "", docstring(m), "", facts, *options, *presets, ""])


def ends(m: Metric) -> str:
    """The range of its values."""
    return f"from {m.low:g} to {m.high:g}".replace("from -inf to inf", "any number").replace(" to inf", " up")


def section(m: Method) -> str:
    """One method."""
    facts = f"Needs: {needed(m)}. Cost: {m.cost}. Source: {cited(m.source)}."
    facts += "" if m.scale_free else " Its normalised map changes with the scale of the scores."
    hints = get_type_hints(m.function, include_extras=True)
    rows = [(f"`{name}`", f"`{default}`", kind_of(hints[name])) for name, default in m.params.items()]
    options = ["", table(("option", "default", "values"), rows)] if rows else []
    of_cat = f"![{m.name} of a cat](images/{m.name}.jpg)"
    picture = "![The methods of attention](images/attention.png)" if "attention" in m.needs else of_cat
    return "\n".join([f"## {m.name}", "", docstring(m), "", facts, *options, "", picture, ""])


def docstring(m: Method | Metric) -> str:
    """All that it says of itself; its shapes have stars that are none of Markdown's."""
    return (inspect.getdoc(m.function) or "").replace("*", r"\*")


def reduction(m: Method) -> str:
    """How its channels become one number, by default."""
    return "as the method `of`" if "of" in m.params else f"`{m.reduce}`"


def needed(m: Method) -> str:
    """What a method needs of a model, in words."""
    if "of" in m.params:
        return "what the method `of` needs"
    words = {
        "gradient": "gradients",
        "layer": "a layer with a grid",
        "attention": "attention between tokens",
        "rule": "operations that a rule can bend",
    }
    return ", ".join(words[need] for need in words if need in m.needs) or "scores only"


def kind_of(hint: object) -> str:
    """The values of an option in words."""
    if get_origin(hint) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(hint))
    if hint in _WORDS:
        return _WORDS[hint]
    if len(kinds := get_args(hint)) > 1 and type(None) in kinds:
        return f"{kind_of(kinds[0])}, or none"
    least = "".join(f", at least {k.low:g}" for k in kinds if isinstance(k, AtLeast))
    kind: Any = kinds[0] if kinds else hint
    return {int: "whole number", float: "number", str: "name of a method"}.get(kind, "a baseline, see above") + least


def cited(source: str) -> str:
    """The source with its arXiv numbers as links."""
    return re.sub(r"arXiv:([\d.]*\d)", r"[arXiv:\1](https://arxiv.org/abs/\1)", source)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


if __name__ == "__main__":
    main()
