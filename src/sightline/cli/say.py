"""What goes to standard error."""

from __future__ import annotations

import sys

from sightline.errors import one_line


def note(text: str) -> None:
    """One line that a reader should know."""
    print(f"note: {one_line(text)}", file=sys.stderr, flush=True)


def error(given: str, fix: str) -> None:
    """Two lines: what was given and what was expected; then the usual fix."""
    print(f"{one_line(given)}\n{one_line(fix)}", file=sys.stderr, flush=True)
