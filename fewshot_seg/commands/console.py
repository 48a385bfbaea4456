"""What a person sees: progress on stderr, tables on stdout, one-line messages."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Self, TypeVar

import typer

if TYPE_CHECKING:
    from rich.progress import Progress

Item = TypeVar("Item")
COMMAND = "fewshot-seg"
PLAIN_EVERY = 10.0  # seconds between progress lines where stderr is not a terminal
LONGEST = 1500  # characters of a message: what it quotes may be anything
PLAIN_WIDTH = 10_000  # a table that goes to a file or a pipe is not wrapped


def complain(message: str, *, kind: str = "error", command: str = COMMAND) -> None:
    """One line on stderr: "fewshot-seg: error: message"."""
    with suppress(OSError):  # standard error on a full device: nobody is left to tell
        line = " ".join(message.split())
        typer.echo(f"{command}: {kind}: {line[:LONGEST]}{'...' if len(line) > LONGEST else ''}", err=True)


class Meter:
    """Progress on stderr with the time left, as a context: a bar on a terminal, rare plain lines elsewhere.

    Args:
        total: steps in all.
        what: is done.
        done: steps done before.
        command: who says so.
        every: seconds between plain lines.
        quiet: show nothing.
    """

    def __init__(
        self,
        total: int,
        what: str,
        *,
        done: int = 0,
        command: str = COMMAND,
        every: float = PLAIN_EVERY,
        quiet: bool = False,
    ) -> None:
        self._total, self._what, self._done, self._command, self._every = total, what, done, command, every
        self._quiet = quiet or sys.stderr is None  # started with stderr closed
        self._first, self._start = done, time.monotonic()
        self._last = self._start
        self._bar: Progress | None = None

    def __enter__(self) -> Self:
        """Shows the bar."""
        if not self._quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, TextColumn("left"), console=Console(stderr=True), transient=True)
            self._bar.start()
            self._bar.add_task(self._what, total=self._total, completed=self._done)
        return self

    def __exit__(self, *_: object) -> None:
        """Takes the bar away."""
        if self._bar is not None:
            self._bar.stop()

    def step(self, text: str = "") -> None:
        """One more step is done; `text` is said of it."""
        self._done += 1
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=self._done, description=text or self._what)
        elif not self._quiet and (now := time.monotonic()) - self._last >= self._every and self._done < self._total:
            self._last = now
            left = (now - self._start) / (self._done - self._first) * (self._total - self._done)
            said = f", {text}" if text else ""
            self.say(f"{self._what}: {self._done} of {self._total}{said}, about {left:.0f} s left")

    def say(self, text: str) -> None:
        """A line that stays."""
        line = f"{self._command}: {text}"
        if self._bar is not None:
            self._bar.console.print(line, markup=False, highlight=False)
        elif not self._quiet:
            with suppress(OSError):
                typer.echo(line, err=True)


def tracked(items: Iterable[Item], total: int, what: str, *, command: str = COMMAND) -> Iterator[Item]:
    """Pass `items` on, and show how far they are."""
    with Meter(total, what, command=command) as meter:
        for item in items:
            yield item
            meter.step()


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, names: int = 2, limit: int = 50, more: int = 0
) -> None:
    """A table on stdout, every column after the first `names` flush right; at most `limit` rows are shown.

    `more` rows are not even given.
    """
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(markup=False, highlight=False, emoji=False)
    if not console.is_terminal:
        console = Console(markup=False, highlight=False, emoji=False, width=PLAIN_WIDTH)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for number, name in enumerate(columns):
        table.add_column(name, justify="right" if number >= names else "left", overflow="fold")
    for row in rows[:limit]:
        table.add_row(*(Text(cell) for cell in row))  # Text: "[red]" in a file name is no markup
    console.print(table)
    if (left := max(0, len(rows) - limit) + more) > 0:
        console.print(f"... and {left} more rows")
