"""One process at a time in a folder: two that write the same file would spoil it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fewshot_seg.errors import ConfigError, OutputError, describe

__all__ = ["sole_user"]


@contextmanager
def sole_user(out: Path, rank: int = 0, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold a folder for the block; the lock goes with the process, however it ends.

    Nothing is locked on Windows, and on file systems that can't.

    Args:
        out: an existing folder.
        rank: of several processes that share the work, each holds its own part.
        on_wait: called once where another process holds it, which is then waited for; None refuses at once.

    Raises:
        ConfigError: another process holds it. OutputError: the folder can't be written.
    """
    path = out / (".lock" if rank == 0 else f".lock-{rank}")
    descriptor = _acquire(path, on_wait)
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink()  # while it is held: whoever opened it meanwhile sees that it is gone, and tries again
        os.close(descriptor)


def _acquire(path: Path, on_wait: Callable[[], None] | None) -> int:
    """The open, locked file."""
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise OutputError(f"{describe(path)}: {error.strerror}; check the folder") from error
        try:
            if not _lock(descriptor, wait=False):
                if on_wait is None:
                    where = describe(path.parent)
                    raise ConfigError(f"{where}: another process is at work in it; wait, or change --out")
                on_wait()
                on_wait = _silent
                _lock(descriptor, wait=True)
            if _is_still(path, descriptor):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _silent() -> None:
    """Whoever waits is told once."""


def _lock(descriptor: int, wait: bool) -> bool:
    """Whether the file is ours now."""
    if sys.platform == "win32":
        return True
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
