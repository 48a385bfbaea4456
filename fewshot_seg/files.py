"""Files that users name, and files of our own: what is no file, or damaged, is seen before it is trusted."""

from __future__ import annotations

import errno
import json
import math
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fewshot_seg.errors import DataError, describe

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOST: Final = 2**30  # bytes


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


def parse_json(text: str | bytes) -> Any:
    """What a JSON text of ours says.

    Raises:
        ValueError: no JSON, nested too deeply, or with numbers that are infinite or beyond 64 bits.
    """
    try:
        return json.loads(text, parse_int=_whole, parse_float=_finite, parse_constant=_finite)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def read_json(path: Path) -> Any:
    """What a JSON file of ours says, of 1 GiB at most; OSError where it can't be read, ValueError as `parse_json`."""
    if (found := regular(path)).stat().st_size > _MOST:
        raise ValueError("it is too large")
    return parse_json(found.read_bytes())


def read_user_json(path: Path, hint: str, form: str) -> Any:
    """What a JSON file of a user's says; DataError, with a hint or the right form, where it can't be read."""
    try:
        return json.loads(regular(path).read_bytes())
    except OSError as error:
        raise DataError(f"{describe(path)}: {error.strerror or error}; {hint}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{describe(path)}: is no JSON; {form}") from error


def json_line(content: object) -> bytes:
    """A line of JSON, UTF-8; names that are none are written as escapes."""
    return json.dumps(content, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz file of ours, of 1 GiB at most in all; nothing is unpickled.

    Raises:
        OSError: it can't be opened. ValueError: it is damaged, something else, or too large.
    """
    import zipfile

    import numpy as np

    with regular(path).open("rb") as stream:
        try:
            if sum(one.file_size for one in zipfile.ZipFile(stream).infolist()) > _MOST:
                raise ValueError("it is too large")
            with np.load(stream, allow_pickle=False) as stored:
                return {name: stored[name] for name in stored.files}
        except Exception as error:  # of damage zipfile, zlib and numpy make nearly anything, MemoryError too
            raise ValueError(f"it is damaged: {str(error).partition(chr(10))[0]}") from error


def _whole(text: str) -> int:
    if len(text) > 20 or not -(2**63) <= (value := int(text)) < 2**63:
        raise ValueError("a number is beyond 64 bits")
    return value


def _finite(text: str) -> float:
    if math.isinf(value := float(text)):
        raise ValueError("a number is infinite")
    return value
