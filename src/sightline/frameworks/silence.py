"""What TensorFlow prints while it is imported, past every switch that Python has."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryFile

_LOG_LINE = re.compile(
    rb"^(WARNING: All log messages before absl|[IWE]\d{4} \d\d:\d\d:)|^To enable the following instr"
)


@contextmanager
def without_log_lines() -> Iterator[None]:
    """Hold back the process's standard error, and give on afterwards what is no line of a native log."""
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
