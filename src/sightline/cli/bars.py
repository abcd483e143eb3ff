"""How far the work is, on standard error, once it has taken a second."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from sightline.stream import PROGRESS

_PATIENCE = 1.0  # seconds


@dataclass
class Bars:
    """A bar for the images, if there are several, and one for the items of a long method; with the time left.

    Nothing is drawn in the first second, nor where standard error is no terminal.
    """

    progress: Progress
    images: TaskID
    passes: TaskID
    many: bool
    began: float = field(default_factory=time.monotonic)
    drawn: bool = False

    def told(self, done: int, total: int | None) -> None:
        """So many of a method's items (its samples, steps or masks) are done."""
        self.progress.update(self.passes, completed=done, total=total, visible=True)
        self._draw()

    def image(self, name: str, done: int) -> None:
        """The image `name` comes next, `done` of them are behind."""
        self.progress.update(self.images, completed=done, visible=self.many)
        self.progress.reset(self.passes, description=name, visible=False)
        self._draw()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Nothing is drawn meanwhile, so that lines can be printed."""
        self.stop()
        yield
        if self.drawn:
            self.progress.start()

    def stop(self) -> None:
        """What was drawn is wiped away."""
        if self.drawn:
            self.progress.stop()

    def _draw(self) -> None:
        if not self.drawn and self.progress.console.is_terminal and time.monotonic() - self.began > _PATIENCE:
            self.drawn = True
            self.progress.start()


@contextmanager
def bars(images: int) -> Iterator[Bars]:
    """Bars for so many images, told by the streams inside meanwhile."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    progress = Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False)
    shown = Bars(progress, progress.add_task("images", total=images), progress.add_task("", visible=False), images > 1)
    before = PROGRESS.set(shown.told)
    try:
        yield shown
    finally:
        PROGRESS.reset(before)
        shown.stop()
