"""Every error that sightline raises on purpose.

SightlineError
├── InputError        a picture, array or preprocessing that cannot be explained
├── ModelError        a model that cannot be loaded, or that a method cannot explain
├── LayerError        a layer that is not there, or that has no map
├── TargetError       a class or output that is not there
├── MethodError       a method or an option that is not there, or a value out of its range
└── UntrustedError    a file that would run code

The text is two lines: what was given and what was expected; then the usual fix.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches


class SightlineError(Exception):
    """The root of the tree: `given` says what was wrong, `fix` how it is usually put right."""

    def __init__(self, given: str, fix: str) -> None:
        super().__init__(f"{one_line(given)}\n{one_line(fix)}")
        self.given, self.fix = one_line(given), one_line(fix)

    def __reduce__(self) -> tuple[type[SightlineError], tuple[str, str]]:
        return type(self), (self.given, self.fix)


class InputError(SightlineError):
    """A picture, array or preprocessing that cannot be explained."""


class ModelError(SightlineError):
    """A model that cannot be loaded, or that a method cannot explain."""


class LayerError(SightlineError):
    """A layer that is not there, or that has no map."""


class TargetError(SightlineError):
    """A class or output that is not there."""


class MethodError(SightlineError):
    """A method or an option that is not there, or a value out of its range."""


class UntrustedError(SightlineError):
    """A file that would run code."""


class PreprocessingWarning(UserWarning):
    """A model came without preprocessing, so that a picture may reach it in the wrong range."""


def one_line(text: str) -> str:
    """`text` with its line breaks and runs of blanks made single blanks."""
    return " ".join(text.split())


def told_by(error: Exception) -> str:
    """The line of a library's error that tells what happened: Keras says first in which call, and writes in bold what."""
    lines = [re.sub(r"\x1b\[\d+m", "", line).strip() for line in str(error).splitlines()]
    told = (line for line in lines if line and not line.startswith("Exception encountered when calling"))
    return next(told, type(error).__name__)


def nearest(word: str, known: Iterable[str], many: str) -> str:
    """A hint: the known word that looks most like `word`, else where `many` are listed."""
    close = get_close_matches(word.lower(), by_lower := {k.lower(): k for k in known}, n=1, cutoff=0.55)
    return f"Did you mean {by_lower[close[0]]!r}?" if close else f"See {many}."
