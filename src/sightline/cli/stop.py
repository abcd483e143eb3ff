"""Ctrl-C between two steps, never in the middle of one."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
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


@contextmanager
def heard() -> Iterator[Callable[[], None]]:
    """Gives a check that stops for a Ctrl-C that went unheard: Python drops what is raised while an object is freed."""
    pressed: list[int] = []

    def stop(number: int, _: Any) -> None:
        pressed.append(number)
        raise KeyboardInterrupt

    def check() -> None:
        if pressed:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, before)
