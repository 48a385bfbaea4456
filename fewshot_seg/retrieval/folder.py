"""An index's folder: whose files are in it, and one process at a time that changes it.

Nothing but our own files is ever written or removed: `index.db`, known by its header, SQLite's journal beside it, the
lock, which is empty, and the files of vectors that the database names.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from fewshot_seg.errors import ConfigError, DataError, OutputError, describe
from fewshot_seg.files import regular
from fewshot_seg.locks import LOCK, sole_user
from fewshot_seg.retrieval.database import APPLICATION, VECTORS, connect

NAME: Final = "index.db"
_JOURNAL: Final = f"{NAME}-journal"
_JOURNAL_STARTS: Final = (b"", bytes(8), bytes.fromhex("d9d505f920a163d7"))


def holds_index(folder: Path) -> bool:
    """Whether there is an index, by its database's header."""
    try:
        with regular(folder / NAME).open("rb") as stream:
            head = stream.read(72)
    except OSError:
        return False
    return head.startswith(b"SQLite format 3\0") and head[68:] == APPLICATION.to_bytes(4)


def check_is_index(folder: Path) -> None:
    """DataError where there is no index, or one that can't be read any more."""
    if not holds_index(folder):
        if _is_old(folder):
            raise DataError(f"{describe(folder)}: {_OLD}")
        there = (folder / NAME).is_file() and (folder / NAME).stat().st_size
        if there:
            raise DataError(f"{describe(folder / NAME)}: is damaged, or no index's; restore it, or build it again")
        raise DataError(f"{describe(folder)}: is no index (it has no {NAME}); make one with 'index build'")


@contextmanager
def claim(folder: Path, on_wait: Callable[[], None] | None) -> Iterator[None]:
    """Be the only one that changes the folder.

    It is created if need be. If another process is at work in it, `on_wait` is called once and it is waited for;
    without `on_wait` that is refused.

    Raises:
        ConfigError: it holds other files and no index, or links. OutputError: it can't be written.
    """
    _refuse_foreign(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(f"{describe(folder)}: cannot write here ({reason}); check the folder") from error
    with sole_user(folder, on_wait=on_wait):
        if (folder / NAME).exists():
            with suppress(DataError, sqlite3.Error):  # what is wrong is said by whoever reads it
                connect(folder / NAME, create=True).close()  # undoes what a killed process left half done
        yield


def new_name() -> str:
    """A name for a file of vectors that no other has."""
    return f"vectors-{secrets.token_hex(8)}.f32"


def sweep(folder: Path, names: Iterable[str]) -> tuple[str, ...]:
    """Remove files of vectors that the database names as its own; gives the names of those that are still there."""
    left = []
    for name in names:
        path = folder / name
        if VECTORS.fullmatch(name) and path.is_file() and not path.is_symlink():
            with suppress(OSError):  # on Windows one that a reader has mapped
                path.unlink()
            left += [name] if path.exists() else []
    return tuple(left)


_OLD: Final = "holds an index made by an earlier version: build it again, in a new folder"


def _is_old(folder: Path) -> bool:
    return (folder / "index.json").is_file() and (folder / "segments").is_dir()


def _refuse_foreign(folder: Path) -> None:
    """An index gets a folder of its own: DIR is easily left out, and then the first folder of images stands there."""
    try:
        paths = list(folder.iterdir()) if folder.is_dir() else []
        index = holds_index(folder)
        foreign = [path for path in paths if not _is_litter(path)]
    except OSError as error:
        raise OutputError(f"{describe(folder)}: the folder cannot be read ({error.strerror})") from error
    if not index and foreign:
        if _is_old(folder):
            raise ConfigError(f"{describe(folder)}: {_OLD}")
        raise ConfigError(f"{describe(folder)}: holds other files and no index; choose a new folder for the index")
    for path in paths if index else ():
        known = path.name in (LOCK, _JOURNAL)
        if (path.is_symlink() and (known or path.name == NAME)) or (known and not _is_litter(path)):
            raise ConfigError(f"{describe(path)}: is not the index's own file; move it, or choose a new folder")


def _is_litter(path: Path) -> bool:
    """Whether a file can be what a first build leaves that is killed at once: nothing is lost with it."""
    if path.is_symlink() or not path.is_file():
        return False
    if path.name == _JOURNAL:
        with path.open("rb") as stream:
            return stream.read(8) in _JOURNAL_STARTS
    return path.name in (NAME, LOCK) and path.stat().st_size == 0
