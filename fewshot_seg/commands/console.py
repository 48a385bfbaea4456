"""What a person sees: progress on stderr, tables on stdout, one-line messages."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import TypeVar

import typer

Item = TypeVar("Item")
COMMAND = "fewshot-seg"
PLAIN_EVERY = 10.0  # seconds between progress lines where stderr is not a terminal
PLAIN_WIDTH = 10_000  # a table that goes to a file or a pipe is not wrapped


def complain(message: str, *, kind: str = "error", command: str = COMMAND) -> None:
    """One line on stderr: "fewshot-seg: error: message"."""
    with suppress(OSError):  # standard error on a full device: nobody is left to tell
        typer.echo(f"{command}: {kind}: {' '.join(message.split())}", err=True)


def tracked(items: Iterable[Item], total: int, what: str, *, command: str = COMMAND) -> Iterator[Item]:
    """Pass `items` on and show progress and time left: a bar on a terminal, rare plain lines elsewhere."""
    if sys.stderr is not None and sys.stderr.isatty():  # None: started with stderr closed
        yield from _bar(items, total, what)
    else:
        yield from _lines(items, total, f"{command}: {what}")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, names: int = 2, limit: int = 50) -> None:
    """A table on stdout, every column after the first `names` flush right; at most `limit` rows are shown."""
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
    if len(rows) > limit:
        console.print(f"... and {len(rows) - limit} more rows")


def _bar(items: Iterable[Item], total: int, what: str) -> Iterator[Item]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("left"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=total)
        for item in items:
            yield item
            progress.advance(task)


def _lines(items: Iterable[Item], total: int, what: str) -> Iterator[Item]:
    start = last = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - last >= PLAIN_EVERY and done < total:
            last = now
            left = (now - start) / done * (total - done)
            typer.echo(f"{what}: {done} of {total}, about {left:.0f} s left", err=True)
