"""What the documentation says is so: its code runs and prints what it says, its tables are those of the registry."""

from __future__ import annotations

import inspect
import os
import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pytest import approx

import sightline as sl
from sightline.cli import main
from sightline.method import METHODS
from sightline.worlds import DEMO_SEED, DEMO_SIZE, find_world

sys.path.insert(0, str(Path(__file__).parents[1] / "docs"))
import make_tables

FRAMEWORKS = ("torch", "keras-tensorflow")
ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FRACTION = r"-?\d+\.\d+(?:e-?\d+)?"
LANGUAGE = {"torch": "python", "keras-tensorflow": "python keras"}[os.environ["SIGHTLINE_TEST_FRAMEWORK"]]


def blocks(page: Path) -> list[tuple[str, str]]:
    """The fenced blocks of a page: (what stands behind the fence, the text)."""
    return re.findall(r"^```([^\n]*)\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def words(text: str) -> list[Any]:
    """What a reader reads: the words, however far apart, and the numbers with a fraction, roughly."""
    found = re.findall(rf"{FRACTION}|\d+|[^\s\d]+", text)
    return [approx(float(word), rel=0.02, abs=0.005) if re.fullmatch(FRACTION, word) else word for word in found]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, with the demo's picture in it; methods that a page registers are gone afterwards."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(find_world("fish-scales").draw(DEMO_SEED, size=DEMO_SIZE).image).save("fish-scale.png")
    before = dict(METHODS)
    yield tmp_path
    METHODS.clear()
    METHODS.update(before)


@pytest.mark.parametrize(
    "page", [p for p in PAGES if any(kind == LANGUAGE for kind, _ in blocks(p))], ids=lambda p: p.name
)
def test_code_runs_and_prints_what_the_page_says(page: Path, folder: Path) -> None:
    names: dict[str, Any] = {"__name__": "page"}
    found = blocks(page)
    for (kind, code), (after, text) in zip(found, [*found[1:], ("", "")]):
        if kind == LANGUAGE:
            printed = StringIO()
            with redirect_stdout(printed):
                exec(compile(code, page.name, "exec"), names)
            assert words(printed.getvalue()) == words(text if after == "text" else "")


@pytest.mark.skipif(LANGUAGE != "python", reason="the commands of the pages are run with PyTorch")
@pytest.mark.parametrize(
    "page", [p for p in PAGES if any(kind == "console" for kind, _ in blocks(p))], ids=lambda p: p.name
)
def test_commands_print_what_the_page_says(page: Path, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for text in (text for kind, text in blocks(page) if kind == "console"):
        for command, expected in re.findall(r"^\$ sightline ([^\n]*)\n((?:(?!\$ ).*\n)*)", text, re.MULTILINE):
            main(shlex.split(command))
            out, err = capfd.readouterr()
            assert words(out + err) == words(expected)


def test_the_tables_are_those_of_the_registry() -> None:
    readme = make_tables.README.read_text(encoding="utf-8")
    assert make_tables.with_table(readme) == readme, "run python docs/make_tables.py"
    assert make_tables.METHODS_PAGE.read_text(encoding="utf-8") == make_tables.methods_page()
    assert make_tables.METRICS_PAGE.read_text(encoding="utf-8") == make_tables.metrics_page()
    for method in sl.methods():
        assert f"[`{method['name']}`](docs/methods.md#{method['name']})" in readme


def test_links_and_pictures_are_there_and_small() -> None:
    for page in PAGES:
        links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
        assert [link for link in links if not (page.parent / link).exists()] == []
    pictures = {path.stem: path.stat().st_size for path in (ROOT / "docs" / "images").iterdir()}
    alone = {m["name"] for m in sl.methods() if "attention" not in m["needs"]}
    assert set(pictures) == alone | {"overview", "photographs", "attention", "worlds"}
    assert pictures.pop("photographs") < 600_000 and pictures.pop("worlds") < 400_000
    assert max(pictures.values()) < 200_000


@pytest.mark.skipif(LANGUAGE != "python", reason="the shipped net is one of PyTorch")
def test_the_first_picture_shows_what_is_said_below_it() -> None:
    import make_pictures

    drawing = find_world("fish-scales").draw(make_pictures.MISREAD, size=DEMO_SIZE)
    found: Any = sl.explain(f"world:{make_pictures.WORLD}", drawing.image, method=make_pictures.OVERVIEW)
    assert drawing.age == 2 and found[0].target[0]["label"] == "3 rings"
    other, sizes = drawing.neighbour_mask, [np.abs(e.on_original()) for e in found]
    marked = {e.method: bool(size[other].mean() > size[~other].mean()) for e, size in zip(found, sizes)}
    assert marked == {"smoothgrad": True, "integrated-gradients": True, "grad-cam": False, "occlusion": False}


def test_there_is_an_example_of_each_framework_in_the_readme() -> None:
    assert {"python", "python keras", "console"} <= {kind for kind, _ in blocks(PAGES[0])}


def test_every_public_option_of_explain_is_told_somewhere() -> None:
    told = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    options = [name for name, p in inspect.signature(sl.explain).parameters.items() if p.kind is p.KEYWORD_ONLY]
    assert [name for name in options if not re.search(rf"\b{name}=", told)] == []
