"""Names of classes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path

from sightline.errors import InputError, TargetError, nearest


@cache
def imagenet() -> tuple[str, ...]:
    """The names of ImageNet's 1,000 classes, in the order that torchvision and Keras use."""
    return tuple((resources.files("sightline") / "data" / "imagenet.txt").read_text("utf-8").splitlines())


def read_labels(given: Sequence[str] | str | Path) -> tuple[str, ...]:
    """The names themselves, those of a file with one a line, or "imagenet"; InputError for a file that is no text."""
    if isinstance(given, str | Path):
        return imagenet() if str(given) == "imagenet" else _of_file(Path(given))
    listed = isinstance(given, Iterable) and not isinstance(given, Mapping)
    if not listed or not all(isinstance(name, str) for name in given):
        raise InputError(
            f"labels of type {type(given).__name__} were given; expected a list of names, in the order of the classes.",
            "For a dictionary of index to name: labels=[names[i] for i in range(len(names))].",
        )
    return tuple(given)


def _of_file(path: Path) -> tuple[str, ...]:
    try:
        return tuple(line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"labels {str(path)!r} were given; they cannot be read: {error}", "Give a text file, a name a line."
        ) from None


def check_count(labels: Sequence[str], outputs: int, head: str = "") -> None:
    """InputError for names that are not those of `outputs` classes; one output may have one name, or two classes, which
    it has where it goes through a sigmoid.
    """
    if (outputs, len(labels), head) == (1, 1, "sigmoid"):
        raise InputError(
            f"one label was given, {labels[0]!r}; the model ends in one sigmoid, which tells two classes apart.",
            f"Give both names, that of the low answer first, such as labels=['no {labels[0]}', {labels[0]!r}].",
        )
    if labels and len(labels) != outputs and (outputs, len(labels)) != (1, 2):
        raise InputError(
            f"{len(labels)} labels were given; the model has {outputs} outputs, so that names would be wrong.",
            "Give a name for each output, in their order.",
        )


def label_of(index: int, labels: Sequence[str]) -> str:
    """The name of a class, "class 5" where it has none."""
    return labels[index] if index < len(labels) else f"class {index}"


def is_label(text: str, labels: Sequence[str]) -> bool:
    """Whether a class is called `text`, capitals aside."""
    return text.lower() in (label.lower() for label in labels)


def index_of(spec: int | str, labels: Sequence[str]) -> int:
    """The class that `spec` names: an index, "name:LABEL", or a label; TargetError with the nearest label if none does."""
    text = str(spec).strip()
    if re.fullmatch(r"-?\d+", text):
        return int(text)
    name = text.removeprefix("name:").strip()
    found = [i for i, label in enumerate(labels) if label == name]
    found = found or [i for i, label in enumerate(labels) if label.lower() == name.lower()]
    if len(found) > 1:
        raise TargetError(
            f"class {name!r} was given; {len(found)} classes are called that: {', '.join(map(str, found))}.",
            "Give the index of the one you mean.",
        )
    if found:
        return found[0]
    if unnamed_class := re.fullmatch(r"class (\d+)", name):  # as one without a name is called
        return int(unnamed_class[1])
    unnamed = "Give an index, or name the classes with labels."
    hint = nearest(name, labels, "`sightline labels MODEL`") if labels else unnamed
    raise TargetError(f"class {name!r} was given; the model has no class of that name.", hint)


def check_index(index: int, count: int) -> int:
    """`index`, or TargetError where there are not that many classes."""
    if not 0 <= index < count:
        raise TargetError(f"class {index} was given; the model has classes 0 to {count - 1}.", "Take one of these.")
    return index
