"""The command `sightline`."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence

from typer import TyperException

from sightline import SightlineError, __version__
from sightline.cli.app import app
from sightline.cli.say import error, note
from sightline.cli.usage import explained


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status.

    0 done; 1 some image failed; 2 wrong usage, or a model that cannot be loaded; 130 stopped by Ctrl-C.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    _write_any_name()
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_args, **_kwargs: note(str(message))
        try:
            return int(app(arguments, prog_name="sightline", standalone_mode=False) or 0)
        except Exception as mistake:
            if "--debug" in arguments:
                raise
            error(*_two_lines(mistake))
            return 2


def _two_lines(mistake: Exception) -> tuple[str, str]:
    if isinstance(mistake, SightlineError):
        return mistake.given, mistake.fix
    if isinstance(mistake, TyperException):
        return explained(mistake)
    return (
        f"{type(mistake).__name__}: {mistake}",
        f"This is a fault in sightline {__version__}; run again with --debug and report what it says.",
    )


def _write_any_name() -> None:
    """A file name or label that the terminal cannot show is escaped instead of stopping the run."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
