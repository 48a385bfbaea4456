"""What the commands that work with an index share: opening one, waiting for others, telling what was done."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from fewshot_seg.commands.console import complain
from fewshot_seg.commands.engine import Engine
from fewshot_seg.errors import ConfigError, DataError
from fewshot_seg.files import regular

if TYPE_CHECKING:
    from fewshot_seg.retrieval.index import Index


def open_index(
    folder: Path, weights: str | None = None, device: str = "auto", threads: int | None = None, *, load: bool = False
) -> Index:
    """The index in a folder.

    With `load` its embedder is loaded now, so that what is wrong with it is said first; otherwise when it is needed. It
    is loaded from where it was, unless `weights` says where it is.

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


STDIN = "-"


@dataclass(frozen=True)
class IndexInputs:
    """What `Index.build` and `Index.add` take: paths, and columns of a table for each of them."""

    paths: list[str]
    columns: dict[str, list[str]] = field(default_factory=dict)


def read_inputs(images: Sequence[str], list_file: str | None, table: Path | None) -> IndexInputs:
    """The images of a command line, with those of a text list; or those of a CSV table, with its other columns.

    A relative path in a list or table counts from the file's folder, or, where it isn't there, from the working folder.

    Raises:
        ConfigError: nothing, or images beside a table. DataError: a list or table that can't be read, or is empty.
    """
    if table is not None:
        if images or list_file is not None:
            raise ConfigError("--csv names all images itself; give it alone, and add others with 'index add'")
        return _read_table(table)
    listed = [] if list_file is None else _read_list(list_file)
    if not images and list_file is None:
        raise ConfigError("no images were given; name files, folders or patterns, or use --list or --csv")
    return IndexInputs([*images, *listed])


def _read_table(path: Path) -> IndexInputs:
    from fewshot_seg.datasets.labelled_csv import read_table

    records = read_table(path)
    if not records:
        raise DataError(f"{path}: lists no images; give a table with at least one")
    names = [name for name in records[0] if name != "path" and name]
    columns = {name: [record[name] for record in records] for name in names}
    return IndexInputs([_from(path.parent, record["path"]) for record in records], columns)


def _read_list(name: str) -> list[str]:
    try:
        raw = sys.stdin.buffer.read() if name == STDIN else regular(name).read_bytes()
    except OSError as error:
        raise DataError(f"{name}: cannot be read ({error.strerror}); give a text file, a path a line") from error
    folder = Path() if name == STDIN else Path(name).parent
    lines = [os.fsdecode(line.removesuffix(b"\r")) for line in raw.removeprefix(b"\xef\xbb\xbf").split(b"\n")]
    paths = [_from(folder, line) for line in lines if line]
    if not paths:
        raise DataError(f"{name}: lists no images; write a path a line")
    return paths


def _from(folder: Path, path: str) -> str:
    beside = os.path.join(folder, path) if str(folder) != "." else path  # noqa: PTH118 - kept as it was written
    return path if os.path.lexists(path) and not os.path.lexists(beside) else beside
