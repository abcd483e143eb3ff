"""An audit of a net whose answer is known, against the same figures taken by hand, and through the command."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import sightline as sl
from sightline.auditing.places import corners
from sightline.cli import main
from sightline.worlds import find_world

FRAMEWORKS = ("torch",)
WORLD, COUNT = "world:fish-scales/rings", 18


@pytest.fixture(scope="module")
def scales(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures, masks, classes and groups of a few scales."""
    folder, world = tmp_path_factory.mktemp("scales"), find_world("fish-scales")
    lines = []
    for seed in range(COUNT):
        drawing = world.draw(seed, size=96)
        for name, pixels in (("images", drawing.image), ("masks", 255 * drawing.mask.astype(np.uint8))):
            (folder / name).mkdir(exist_ok=True)
            Image.fromarray(pixels).save(folder / name / f"{seed:02}.png")
        lines.append(f"{seed:02}.png,{world.name_of(drawing)},{'even' if seed % 2 == 0 else 'odd'}")
    (folder / "labels.csv").write_text("\n".join(["file,label,group", *lines]))
    return folder


@pytest.fixture(scope="module")
def audit(scales: Path) -> sl.Audit:
    table = scales / "labels.csv"
    return sl.audit(
        WORLD,
        scales / "images",
        masks=scales / "masks",
        labels_csv=table,
        groups=table,
        method="grad-cam",
        against=WORLD,
    )


def test_figures_are_those_of_the_maps(audit: sl.Audit, scales: Path) -> None:
    files = sorted(str(path) for path in (scales / "images").iterdir())
    found = sl.explain(WORLD, files)
    masks = np.stack([np.asarray(Image.open(path)) > 0 for path in sorted((scales / "masks").iterdir())])
    energy = np.maximum(found.map, 0).astype(np.float64)
    inside = (energy * masks).sum(axis=(1, 2)) / energy.sum(axis=(1, 2))
    assert audit.figures["inside_mask"].mean == pytest.approx(inside.mean(), rel=1e-6)
    assert audit.figures["inside_mask"].low < inside.mean() < audit.figures["inside_mask"].high
    outer = (energy * corners(96, 96)).sum(axis=(1, 2)) / energy.sum(axis=(1, 2))
    assert audit.figures["corners"].mean == pytest.approx(outer.mean(), rel=1e-6)
    assert audit.figures["mask_area"].mean == pytest.approx(masks.mean())
    right = [look.right for look in audit.looks]
    assert audit.figures["accuracy"].mean == np.mean(right) >= 0.9


def test_the_net_rests_on_the_rings(audit: sl.Audit) -> None:
    assert audit.figures["changed_mask"].low > audit.figures["changed_elsewhere"].high
    assert any("the answers rest on it" in said for said in audit.findings)


def test_a_model_against_itself_differs_in_nothing(audit: sl.Audit) -> None:
    assert audit.against is not None and audit.against.figures.keys() == audit.figures.keys()
    others = {name: figure for name, figure in audit.differences.items() if name != "map_correlation"}
    assert all(figure.mean == figure.low == figure.high == 0 for figure in others.values())
    assert audit.differences["map_correlation"].mean == pytest.approx(1)


def test_groups_are_compared_and_the_odd_come_first(audit: sl.Audit) -> None:
    assert {(c.first, c.second, c.figure) for c in audit.contrasts} >= {("even", "odd", "inside_mask")}
    odd = [each.oddness for each in audit.odd]
    assert odd == sorted(odd, reverse=True) and odd[0] > odd[-1]


class Images(HTMLParser):
    """The sources of a page's pictures; an error where a tag is closed that was not opened."""

    def __init__(self) -> None:
        super().__init__()
        self.sources: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.sources += [value for name, value in attributes if tag == "img" and name == "src" and value]


def test_page_and_facts_are_written(audit: sl.Audit, tmp_path: Path) -> None:
    text = audit.save(tmp_path / "audit.html").read_text()
    page = Images()
    page.feed(text)
    assert len(page.sources) == len(audit.by_class) + len(audit.odd)
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)
    facts = json.loads(audit.save(tmp_path / "audit.json").read_text())
    figure = audit.figures["inside_mask"]
    assert facts["inside_mask"] == {"mean": figure.mean, "low": figure.low, "high": figure.high, "count": COUNT}
    assert [each["image"] for each in facts["images"]] == [f"{seed:02}.png" for seed in range(COUNT)]
    with pytest.raises(sl.InputError, match=r"\.html, \.json"):
        audit.save(tmp_path / "audit.txt")


def test_command_acts_on_conditions(scales: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["audit", WORLD, str(scales / "images"), "--masks", str(scales / "masks"), "--method", "grad-cam"]
    asked += ["--out", str(tmp_path / "out"), "--json"]
    assert main([*asked, "--fail-if", "inside_mask < 0.9", "--fail-if", "corners > 0.9"]) == 3
    facts = json.loads(capsys.readouterr().out)
    assert facts["failed"] == ["inside_mask < 0.9"] and facts["inside_mask"]["mean"] < 0.9
    assert Path(facts["files"]["page"]).exists()
    assert main([*asked, "--fail-if", "inside_mask > 0.9"]) == 0
    assert main([*asked, "--fail-if", "inside_mask is low"]) == 2


@pytest.mark.parametrize("seed", ["", "-2"])
def test_the_cheat_is_told_from_the_honest_net(seed: str, tmp_path: Path) -> None:
    found = {}
    for kind in ("honest", "cheat"):
        assert main(["world", f"damaged-parts/{kind}", str(tmp_path / kind), "--count", "24", "--seed", "5000"]) == 0
        folder = tmp_path / kind
        asked: dict[str, Any] = {"masks": folder / "masks", "labels_csv": folder / "labels.csv", "steps": 16}
        found[kind] = sl.audit(f"world:damaged-parts/{kind}{seed}", folder / "images", **asked)
    honest, cheat = found["honest"], found["cheat"]
    right = {kind: audit.figures["accuracy"] for kind, audit in found.items()}  # which does not tell them apart
    assert min(figure.mean for figure in right.values()) >= 0.9 and right["honest"].high > right["cheat"].low
    assert not honest.fails("inside_mask < 0.3") and cheat.fails("inside_mask < 0.3")
    assert cheat.figures["inside_mask"].high < 0.05 < 0.3 < honest.figures["inside_mask"].low
    assert honest.figures["changed_mask"].low > 0.6 and cheat.figures["changed_mask"].mean == 0
    assert cheat.findings[0].startswith("The model does not look at what the masks cover")
    assert not any("does not look" in said for said in honest.findings)


def test_a_picture_that_cannot_be_read_is_told_and_the_others_are_done(scales: Path, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for path in sorted((scales / "images").iterdir())[:3]:
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "bad.png").write_bytes(b"no picture")
    found = sl.audit(WORLD, folder, method="grad-cam")
    assert len(found.looks) == 3 and [failure.sample.name for failure in found.failures] == ["bad.png"]
    assert "accuracy" not in found.figures and "inside_mask" not in found.figures
    alone = sl.audit(WORLD, folder, method="grad-cam", random_state=1)
    assert [look.score for look in alone.looks] == pytest.approx([look.score for look in found.looks])
