"""`sightline explain`: images one by one, so that a bad one does not stop the rest."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sightline as sl
from sightline.auto import choose
from sightline.cli.answers import Answer, tell
from sightline.cli.bars import bars
from sightline.cli.files import free_stem, pictures_in, reserved
from sightline.cli.say import error, note
from sightline.cli.stop import heard, whole_step
from sightline.errors import InputError, MethodError, SightlineError, TargetError
from sightline.method import find
from sightline.pictures.colour import colour_table

DEFAULT_MODEL = "torchvision:resnet50"
_SHARED = {"layer", "reduce", "smooth", "memory", "random_state"}  # by explaining and judging


@dataclass(frozen=True)
class Wish:
    """What is asked of each image, and how its answers are told."""

    question: Mapping[str, Any]  # for `sl.explain`
    out: Path
    colormap: str | None
    as_json: bool
    verdict: bool = False  # whether each map comes with one


@dataclass
class Count:
    """How many images are done, and how many failed."""

    done: int = 0
    failed: int = 0


def explain_files(given: Sequence[str], model: str | None, options: Mapping[str, Any], wish: Wish) -> int:
    """Explain every picture; the exit status. Raises SightlineError for what is wrong with the request itself."""
    images, count = pictures_in(given), Count()
    try:
        _check(wish)
        loaded = load(model, options)
        make_folder(wish.out)
        _explain_each(images, loaded, wish, count)
    except KeyboardInterrupt:
        print(f"Stopped: {count.done} of {len(images)} images are done; files in {wish.out}.", file=sys.stderr)
        return 130
    return 1 if count.failed else 0


def load(model: str | None, options: Mapping[str, Any]) -> sl.Loaded:
    """The model of a spec, also of a module in the current folder; what libraries print goes to standard error."""
    if model is None:
        note(f"no --model was given: {DEFAULT_MODEL} with the ImageNet weights that torchvision publishes is used.")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)
    with redirect_stdout(sys.stderr):
        return sl.load(model or DEFAULT_MODEL, **options)


def masked(targets: Sequence[str], mask: str | None) -> list[Any]:
    """The targets, each region with the mask; TargetError for a mask without a region."""
    if mask is None:
        return list(targets)
    regions = [t.partition(":")[2].strip() if t.strip().startswith("region:") else None for t in targets]
    if not any(regions):
        raise TargetError(f"--mask {mask} was given without a region.", "Say of which class: --target region:CLASS.")
    return [sl.Region(name, mask) if name else target for name, target in zip(regions, targets)]


def settings(pairs: Iterable[str]) -> dict[str, str]:
    """The options of methods out of "key=value"; MethodError for another form, or a key that is no such option."""
    found = {}
    for pair in pairs:
        key, equals, value = (part.strip() for part in pair.partition("="))
        key = key.replace("-", "_")
        if not equals or not key:
            raise MethodError(f"--set {pair!r} was given; expected key=value.", "Write it like --set steps=32.")
        if key in inspect.signature(sl.explain).parameters:
            raise MethodError(
                f"--set {pair!r} was given; {key} is not an option of a method.",
                f"Write --{key.replace('_', '-')}, if `sightline explain --help` has it.",
            )
        found[key] = value
    return found


def _check(wish: Wish) -> None:
    """What can be known before a model is loaded."""
    for name in wish.question["method"]:
        choose(name, {})
    if wish.colormap is not None:
        colour_table(wish.colormap)


def make_folder(out: Path) -> None:
    """Make the folder `out`; InputError where it cannot be made."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise InputError(f"--out {out} was given; {problem.strerror}.", "Give a folder to write into.") from None


def _explain_each(images: Sequence[str], loaded: sl.Loaded, wish: Wish, count: Count) -> None:
    taken = reserved(images, wish.out)
    with bars(len(images)) as shown, heard() as check:
        for image in images:
            check()
            shown.image(Path(image).name, count.done + count.failed)
            try:
                found = _explain_one(image, loaded, wish, taken)
                with shown.paused(), whole_step():
                    tell(found, as_json=wish.as_json)
                    count.done += 1
            except SightlineError as mistake:
                if not (isinstance(mistake, InputError) or count.done):
                    raise  # no image was right for this request, and the others would not be
                error(mistake.given if image in mistake.given else f"{image}: {mistake.given}", mistake.fix)
                count.failed += 1


def _explain_one(image: str, loaded: sl.Loaded, wish: Wish, taken: set[str]) -> list[Answer]:
    with redirect_stdout(sys.stderr):
        found = sl.explain(loaded, image, **wish.question)
        each = found if isinstance(found, list) else [found]
        verdicts = [_verdict(e, image, loaded, wish) if wish.verdict else None for e in each]
    return [_saved(e, image, wish, taken, said) for e, said in zip(each, verdicts)]


def _verdict(e: sl.Explanation, image: str, loaded: sl.Loaded, wish: Wish) -> dict[str, Any]:
    """What is to be said for and against this map, of the class that it explains."""
    index, asked = e.target[0]["index"], wish.question
    own = {name for method in (find(e.method), find(e.method).base(e.params)) for name in method.params} | _SHARED
    target = index if isinstance(index, int) else asked["target"][0]
    options = {name: value for name, value in asked.items() if name in own}
    return sl.verdict(loaded, image, **{**e.params, **options, "method": e.method, "target": target}).facts()


def _saved(e: sl.Explanation, image: str, wish: Wish, taken: set[str], verdict: Mapping[str, Any] | None) -> Answer:
    stem = free_stem([Path(image).stem, e.method, e.target[0]["label"]], taken)
    picture = e.save(wish.out / f"{stem}.png", colormap=wish.colormap)
    arrays = e.save(wish.out / f"{stem}.npz")
    return Answer(e, {"picture": str(picture), "arrays": str(arrays)}, verdict)
