"""`sightline world`: pictures, masks and right answers in a folder that is whole or not there."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sightline.cli import main
from sightline.errors import InputError
from sightline.worlds import Drawing, find_world, folder


def rows_of(out: Path) -> list[dict[str, str]]:
    with (out / "labels.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_folder_holds_what_was_drawn(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["world", "damaged-parts/cheat", "deep/parts", "--count", "5", "--seed", "7", "--size", "48"]) == 0
    assert capsys.readouterr().out.startswith("5 pictures of damaged-parts/cheat are in deep/parts")
    out = here / "deep" / "parts"
    assert sorted(path.name for path in out.iterdir()) == ["distractors", "images", "labels.csv", "masks"]
    rows = rows_of(out)
    assert [row["seed"] for row in rows] == ["7", "8", "9", "10", "11"]
    for row in rows:
        drawing = find_world("damaged-parts/cheat").draw(int(row["seed"]), size=48)
        for kind, array in (("images", drawing.image), ("masks", drawing.mask), ("distractors", drawing.distractors)):
            with Image.open(out / kind / row["file"]) as image:
                assert np.array_equal(np.asarray(image) if kind == "images" else np.asarray(image) == 255, array)
        assert row["label"] == ("damaged" if drawing.label else "sound") and row["index"] == str(drawing.label)
        assert (row["tag"], row["background"], row["size"]) == (
            *(drawing.facts[key] for key in ("tag", "background")),
            "48",
        )


@pytest.mark.parametrize(
    "name", ["fish-scales", "fish-scales/size", "fish-scales/regression", "mosaic/2x2", "control/relu"]
)
def test_every_world_can_be_written(name: str, here: Path) -> None:
    assert main(["world", name, "out", "--count", "2"]) == 0
    world = find_world(name)
    for seed, row in enumerate(rows_of(here / "out")):
        assert row["label"] == world.name_of(world.draw(seed)) and float(row["index"]) == world.draw(seed).label
        with Image.open(here / "out" / "images" / row["file"]) as image:
            assert image.size == (world.size, world.size)


def test_mosaics_of_a_folder_are_labelled_by_its_folders(here: Path) -> None:
    for name, colour in {"cat": "red", "dog": "green", "eel": "blue"}.items():
        (here / "animals" / name).mkdir(parents=True)
        for number in range(3):
            Image.new("RGB", (40, 60), colour).save(here / "animals" / name / f"{number}.png")
    assert main(["world", "mosaic/2x2", "out", "--from", "animals", "--count", "3", "--size", "80"]) == 0
    colours = {"cat": (255, 0, 0), "dog": (0, 128, 0), "eel": (0, 0, 255)}
    for row in rows_of(here / "out"):
        image, mask = (np.asarray(Image.open(here / "out" / kind / row["file"])) for kind in ("images", "masks"))
        assert (image[mask == 255] == colours[row["label"]]).all() and (mask == 255).mean() == 0.25


def test_an_empty_folder_is_filled_and_another_is_not(here: Path) -> None:
    (here / "empty").mkdir()
    assert main(["world", "fish-scales", "empty", "--count", "1"]) == 0
    before = (here / "empty" / "labels.csv").read_bytes()
    assert main(["world", "fish-scales", "empty", "--count", "2"]) == 2
    assert (here / "empty" / "labels.csv").read_bytes() == before


def test_a_failure_in_the_middle_leaves_nothing(here: Path) -> None:
    world = find_world("fish-scales")

    def drawings():
        yield 0, world.draw(0, size=32)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        folder.write_folder(here / "out", drawings(), world.name_of)
    assert list(here.iterdir()) == []


def test_ctrl_c_is_told_in_a_line(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(folder, "_written", stop)
    assert main(["world", "fish-scales", "out"]) == 130
    assert capsys.readouterr().err == "Stopped: nothing was written to out.\n"
    assert list(here.iterdir()) == []


def test_a_disk_that_is_full_leaves_nothing(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    drawing: Drawing = find_world("fish-scales").draw(0, size=32)
    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(InputError, match="No space left"):
        folder.write_folder(here / "out", [(0, drawing)], str)
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "given", "fix"),
    [
        (["fish-scale", "out"], "There is no world 'fish-scale'", "Did you mean 'fish-scales'?"),
        (["fish-scales", "out", "--size", "9"], "The size is 9 pixels; expected 32 to 1024.", "Give size=96"),
        (["fish-scales", "out", "--count", "0"], "'--count'", "`sightline world --help`"),
        (["fish-scales", "out", "--seed", "-1"], "'--seed'", "`sightline world --help`"),
        (["fish-scales", "out", "--from", "."], "--from was given with fish-scales", "mosaic/2x2"),
        (["mosaic/2x2", "out", "--from", "nowhere"], "nowhere was given; No such file", "one folder a class"),
        (["mosaic/3x3", "out", "--size", "100"], "expected a multiple of 3", "Give size=99."),
        (["fish-scales", "file"], "file was given; it has files already", "Give a new folder"),
        (["fish-scales", "file/out"], "file/out was given; file: ", "where you may write"),
    ],
)
def test_wrong_usage_is_two_lines_and_nothing_is_written(
    arguments: list[str], given: str, fix: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "file").write_text("")
    assert main(["world", *arguments]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 2 and given in lines[0] and fix in lines[1]
    assert [path.name for path in here.iterdir()] == ["file"]
