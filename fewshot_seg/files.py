"""Files that users name: what is no file is seen before it is opened."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def regular(path: str | bytes | os.PathLike[str] | os.PathLike[bytes]) -> Path:
    """The path of a file that is going to be read.

    Raises:
        OSError: there is none, or it is a pipe, a device or a socket: reading it could wait for ever, or never end.
    """
    found = Path(os.fsdecode(path))
    mode = found.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # a folder says so itself when it is opened
        raise OSError(errno.EINVAL, "is not a regular file", str(found))
    return found
