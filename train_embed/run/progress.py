"""What a person sees of a running training: a bar with losses and time left, or rare plain lines."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

PLAIN_EVERY = 30.0  # seconds between lines where stderr is no terminal


class Progress:
    """On stderr. Use as a context manager.

    Args:
        total: steps of the whole run.
        done: steps done before.
        epochs: of the whole run; 0 for one that has none.
        quiet: show nothing (ranks other than the first).
    """

    def __init__(self, total: int, done: int, epochs: int, quiet: bool = False) -> None:
        self.total, self.done, self.epochs, self.quiet = total, done, epochs, quiet
        self._first, self._start = done, time.monotonic()
        self._last = self._start
        self._bar: Bar | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        """Shows the bar."""
        if not self.quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Bar(*columns, TextColumn("left"), console=Console(stderr=True), transient=True)
            self._bar.start()
            self._task = self._bar.add_task("training", total=self.total, completed=self.done)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Takes the bar away."""
        if self._bar is not None:
            self._bar.stop()

    def step(self, epoch: int, parts: Mapping[str, float]) -> None:
        """One more step is done; `epoch` counts from 0."""
        self.done += 1
        if self.quiet:
            return
        losses = " ".join(f"{name.removeprefix('loss_')} {value:.3f}" for name, value in parts.items())
        text = f"epoch {epoch + 1}/{self.epochs} {losses}" if self.epochs else losses
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=self.done, description=text)
            return
        now = time.monotonic()
        if now - self._last >= PLAIN_EVERY and self.done < self.total:
            self._last = now
            left = (now - self._start) / (self.done - self._first) * (self.total - self.done)
            self._line(f"step {self.done} of {self.total}, {text}, about {left:.0f} s left")

    def say(self, text: str) -> None:
        """A line that stays."""
        if self.quiet:
            return
        if self._bar is not None:
            self._bar.console.print(f"train-embed: {text}", markup=False, highlight=False)
        else:
            self._line(text)

    def _line(self, text: str) -> None:
        sys.stderr.write(f"train-embed: {text}\n")
        sys.stderr.flush()
