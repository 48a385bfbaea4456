"""One process at a time in a folder: two that write the same file would spoil it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from fewshot_seg.errors import ConfigError, OutputError, describe

LOCK: Final = ".lock"
"""The file that is locked: empty, and there only while somebody holds the folder."""


@contextmanager
def sole_user(out: Path, rank: int = 0, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold a folder for the block; the lock goes with the process, however it ends.

    Args:
        out: an existing folder.
        rank: of several processes that share the work, each holds its own part.
        on_wait: called once where another process holds it, which is then waited for; None refuses at once.

    Raises:
        ConfigError: another process holds it. OutputError: the folder can't be written.
    """
    path = out / (LOCK if rank == 0 else f"{LOCK}-{rank}")
    if not out.is_dir():
        raise OutputError(f"{describe(out)}: no such folder; check the folder")
    try:
        lock = _acquire(path, on_wait)
    except OSError as error:
        raise OutputError(f"{describe(path)}: cannot write ({error.strerror or error}); check the folder") from error
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink()  # while it is held: whoever waited for it sees that it is gone, and tries again
        lock.release()


def _acquire(path: Path, on_wait: Callable[[], None] | None) -> FileLock:
    told = False
    while True:
        lock = FileLock(path)
        path.touch()
        before = path.stat()
        try:
            lock.acquire(timeout=-1 if told else 0)
        except Timeout:
            if on_wait is None:
                where = describe(path.parent)
                raise ConfigError(f"{where}: another process is at work in it; wait, or change --out") from None
            on_wait()
            told = True
            continue
        if _is_still(path, before):
            return lock
        lock.release()


def _is_still(path: Path, before: os.stat_result) -> bool:
    """Whether the name stood for one file all along: that is what is locked, and not one that its owner removed."""
    try:
        return os.path.samestat(path.stat(), before)
    except FileNotFoundError:
        return False
