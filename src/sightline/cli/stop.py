"""Ctrl-C between two steps, never in the middle of one."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def whole_step() -> Iterator[None]:
    """A Ctrl-C meanwhile comes when the step is done; a second one comes at once. For the main thread."""
    pressed: list[int] = []

    def wait(number: int, _: Any) -> None:
        if pressed:
            raise KeyboardInterrupt
        pressed.append(number)

    before = signal.signal(signal.SIGINT, wait)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed:
        raise KeyboardInterrupt
