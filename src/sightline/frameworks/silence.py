"""What TensorFlow prints while it is imported, past every switch that Python has."""

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryFile

_LOG_LINE = re.compile(
    rb"^(WARNING: All log messages before absl|[IWE]\d{4} \d\d:\d\d:)|^To enable the following instr"
)


_ONE_AT_A_TIME = threading.RLock()


@contextmanager
def without_log_lines() -> Iterator[None]:
    """Hold back the process's standard error, and give on afterwards what is no line of a native log.

    One thread at a time: another would keep the first one's temporary file and put that back in the end. Where a native
    library aborts the process meanwhile, what it said last is lost.
    """
    with _ONE_AT_A_TIME:
        yield from _held_back()


def _held_back() -> Iterator[None]:
    try:
        kept = os.dup(2)
    except OSError:  # there is no standard error
        yield
        return
    with TemporaryFile() as held:
        sys.stderr.flush()
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            held.seek(0)
            os.write(2, b"".join(line for line in held if not _LOG_LINE.match(line)))
