"""What the commands that work with an index share: opening one, waiting for others, telling what was done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from fewshot_seg.commands.console import complain
from fewshot_seg.commands.engine import Engine

if TYPE_CHECKING:
    from fewshot_seg.retrieval.index import Index


def open_index(
    folder: Path, weights: str | None = None, device: str = "auto", threads: int | None = None, *, load: bool = False
) -> Index:
    """The index in a folder.

    Args:
        folder: where it is.
        weights: its embedder's, where it isn't to be loaded from where it was.
        device: for the embedder.
        threads: CPU threads.
        load: load the embedder now, so that what is wrong with it is said first; otherwise when it is needed.

    Raises:
        DataError: no index, or a damaged one. ConfigError: other weights. CheckpointError: they can't be loaded.
    """
    from fewshot_seg.retrieval.index import Index

    engine = Engine(weights or "default", device, threads=threads)
    if weights is not None:
        return Index.load(folder, engine.embedder())
    engine.set_threads()
    index = Index.load(folder, device=device)
    if load:
        _ = index.embedder
    return index


def waiting(folder: Path) -> Callable[[], None]:
    """Says that another process is at work in the folder."""
    return lambda: complain(f"another process is at work in {folder}; waiting for it", kind="note")


@contextmanager
def interruptible(folder: Path) -> Iterator[None]:
    """Ctrl-C ends the command, with a line that says how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        complain(f"what is finished is kept in {folder}; give the same command again to go on", kind="interrupted")
        raise typer.Exit(130) from None


def report(index: Index) -> None:
    """Print what the last operation did and what it left out; leave with 1 if that is anything."""
    done = index.changes
    for failure in done.failures:
        complain(failure.error)
    parts = {"added": done.added, "replaced": done.replaced, "removed": done.removed, "unchanged": done.unchanged}
    counts = ", ".join(f"{count} {what}" for what, count in parts.items() if count)
    left_out = f"; {len(done.failures)} left out" if done.failures else ""
    typer.echo(f"{index.folder}: {len(index)} images ({counts or 'nothing changed'}){left_out}")
    if done.failures:
        raise typer.Exit(1)
