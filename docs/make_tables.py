"""Writes what the documentation says of the methods from the registry itself: python docs/make_tables.py"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from sightline import methods
from sightline.method import METHODS, AtLeast, Method, Names, Sides

HERE = Path(__file__).parent
README, METHODS_PAGE = HERE.parent / "README.md", HERE / "methods.md"
BEGIN, END = "<!-- methods -->", "<!-- /methods -->"
HEAD = """# The methods

Written by `docs/make_tables.py` from the registry: change the docstring of a method, not this page. The pictures
show what a MobileNetV2 trained on ImageNet looks at in a photograph of a cat (`docs/make_pictures.py`).

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
_WORDS = {Sides: "a side in pixels, or height x width", Names: "names of layers"}


def main() -> None:
    """Write the table of the README and the whole page of the methods."""
    README.write_text(with_table(README.read_text(encoding="utf-8")), encoding="utf-8")
    METHODS_PAGE.write_text(methods_page(), encoding="utf-8")


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


def section(m: Method) -> str:
    """One method."""
    facts = f"Needs: {needed(m)}. Cost: {m.cost}. Source: {cited(m.source)}."
    facts += "" if m.scale_free else " Its normalised map changes with the scale of the scores."
    hints = get_type_hints(m.function, include_extras=True)
    rows = [(f"`{name}`", f"`{default}`", kind_of(hints[name])) for name, default in m.params.items()]
    options = ["", table(("option", "default", "values"), rows)] if rows else []
    picture = f"![{m.name} of a cat](images/{m.name}.jpg)"
    return "\n".join([f"## {m.name}", "", docstring(m), "", facts, *options, "", picture, ""])


def docstring(m: Method) -> str:
    """All that the method says of itself; its shapes have stars that are none of Markdown's."""
    return (inspect.getdoc(m.function) or "").replace("*", r"\*")


def reduction(m: Method) -> str:
    """How its channels become one number, by default."""
    return "as the method `of`" if "of" in m.params else f"`{m.reduce}`"


def needed(m: Method) -> str:
    """What a method needs of a model, in words."""
    if "of" in m.params:
        return "what the method `of` needs"
    words = {"gradient": "gradients", "layer": "a layer with a grid", "rule": "operations that a rule can bend"}
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
