"""Names of classes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import resources
from pathlib import Path

from sightline.errors import InputError


@cache
def imagenet() -> tuple[str, ...]:
    """The names of ImageNet's 1,000 classes, in the order that torchvision and Keras use."""
    return tuple((resources.files("sightline") / "data" / "imagenet.txt").read_text("utf-8").splitlines())


def read_labels(given: Sequence[str] | str | Path) -> tuple[str, ...]:
    """The names themselves, those of a file with one a line, or "imagenet"; InputError for a file that is no text."""
    if not isinstance(given, str | Path):
        return tuple(given)
    if str(given) == "imagenet":
        return imagenet()
    try:
        return tuple(Path(given).read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"labels {str(given)!r} were given; they cannot be read: {error}", "Give a text file, a name a line."
        ) from None
