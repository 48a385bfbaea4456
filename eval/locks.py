"""One process at a time in a run's folder: two that append to the same file would spoil it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fewshot_seg.decode import describe
from fewshot_seg.errors import ConfigError, OutputError

__all__ = ["sole_user"]


@contextmanager
def sole_user(out: Path, rank: int = 0) -> Iterator[None]:
    """Hold a run's folder for the block; the lock goes with the process, however it ends.

    Nothing is locked on Windows, and on file systems that can't.

    Args:
        out: an existing folder.
        rank: of several processes that share the work, each holds its own part.

    Raises:
        ConfigError: another process holds it. OutputError: the folder can't be written.
    """
    path = out / (".lock" if rank == 0 else f".lock-{rank}")
    descriptor = _acquire(path)
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink()  # while it is held: whoever opened it meanwhile sees that it is gone, and tries again
        os.close(descriptor)


def _acquire(path: Path) -> int:
    """The open, locked file."""
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise OutputError(f"{describe(path)}: {error.strerror}; check the folder") from error
        if not _lock(descriptor):
            os.close(descriptor)
            raise ConfigError(f"{describe(path.parent)}: another process is at work in it; wait, or change --out")
        if _is_still(path, descriptor):
            return descriptor
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    """Whether the file is ours now."""
    if sys.platform == "win32":
        return True
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
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
