"""What an index knows of each image beside its vector, and how an unchanged file is known."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from fewshot_seg.errors import ImageError, describe
from fewshot_seg.files import regular

_LATEST = 2**63 - 1  # nanoseconds that a database's integers hold: until 2262


class Stamp(NamedTuple):
    """By which an unchanged file is known without being read."""

    size: int
    mtime_ns: int


@dataclass(frozen=True)
class Row:
    """One image of an index.

    Attributes:
        path: as it was given.
        root: number of the folder that a relative path counts from, in the index's list; None for an absolute path.
        stamp: the file's, when it was read.
        digest: of its content.
        columns: what else is known of it, name -> text.
    """

    path: str
    root: int | None
    stamp: Stamp
    digest: str
    columns: Mapping[str, str] = field(default_factory=dict)


def stamp_of(path: str | os.PathLike[str]) -> Stamp:
    """The file's size and time of change.

    Raises:
        ImageError: there is no such file, or it cannot be reached.
    """
    try:
        status = os.stat(path)  # noqa: PTH116 - a path may be bytes that are no text
    except FileNotFoundError:
        raise ImageError(f"{describe(path)}: no such file; check the path") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ImageError(f"{describe(path)}: cannot be opened ({reason}); check the path") from error
    return Stamp(status.st_size, min(status.st_mtime_ns, _LATEST))


def content_digest(path: str | os.PathLike[str]) -> str:
    """BLAKE2b, 128 bits, of a file's content.

    Raises:
        ImageError: it cannot be read.
    """
    try:
        with regular(path).open("rb") as stream:
            return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ImageError(f"{describe(path)}: cannot be read ({reason}); check the file") from error
