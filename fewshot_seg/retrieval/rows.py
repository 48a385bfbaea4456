"""What an index knows of each image beside its vector, one JSON line each; a line is parsed when it is asked for."""

from __future__ import annotations

import hashlib
import json
import mmap
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np

from fewshot_seg.errors import DataError, ImageError, describe

__all__ = ["Row", "RowFile", "Stamp", "content_digest", "encode_rows", "stamp_of"]


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

    def to_json(self) -> dict[str, Any]:
        """A dict of JSON values; `from_json` reads it."""
        values = {"path": self.path, "root": self.root, "stamp": list(self.stamp), "digest": self.digest}
        return values | ({"columns": dict(self.columns)} if self.columns else {})

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Row:
        """What `to_json` gave; KeyError, TypeError or ValueError for anything else."""
        stamp = Stamp(*(int(value) for value in values["stamp"]))
        columns = {str(name): str(value) for name, value in values.get("columns", {}).items()}
        root = None if values["root"] is None else int(values["root"])
        return cls(str(values["path"]), root, stamp, str(values["digest"]), columns)


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
    return Stamp(status.st_size, status.st_mtime_ns)


def content_digest(path: str | os.PathLike[str]) -> str:
    """BLAKE2b, 128 bits, of a file's content.

    Raises:
        ImageError: it cannot be read.
    """
    try:
        with Path(path).open("rb") as stream:
            return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ImageError(f"{describe(path)}: cannot be read ({reason}); check the file") from error


def encode_rows(rows: Iterable[Row]) -> Iterator[bytes]:
    """A line for each row. Only ASCII: names that are not valid UTF-8 come back as they were."""
    for row in rows:
        yield json.dumps(row.to_json(), separators=(",", ":")).encode("ascii") + b"\n"


class RowFile(Sequence[Row]):
    """The rows in a file of such lines, mapped into memory: a million of them cost nothing until they are asked for.

    Args:
        path: not empty.
        count: how many lines there have to be.

    Raises:
        DataError: the file can't be read, or has another number of lines.
    """

    def __init__(self, path: Path, count: int) -> None:
        self._path = path
        try:
            with path.open("rb") as stream:
                self._bytes = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise DataError(
                f"{describe(path)}: cannot be read ({error}); restore it, or build the index again"
            ) from error
        ends = np.flatnonzero(np.frombuffer(self._bytes, np.uint8) == ord("\n"))
        if len(ends) != count:
            raise DataError(
                f"{describe(path)}: has {len(ends)} rows, not {count}; restore it, or build the index again"
            )
        self._starts = np.concatenate([[0], ends + 1])

    def __len__(self) -> int:
        return len(self._starts) - 1

    @overload
    def __getitem__(self, place: int) -> Row: ...
    @overload
    def __getitem__(self, place: slice) -> list[Row]: ...
    def __getitem__(self, place: int | slice) -> Row | list[Row]:
        if isinstance(place, slice):
            return [self[number] for number in range(*place.indices(len(self)))]
        place = range(len(self))[place]  # counts from the end, and refuses what isn't there
        line = self._bytes[self._starts[place] : self._starts[place + 1]]
        try:
            return Row.from_json(json.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            where = f"{describe(self._path)}:{place + 1}"
            raise DataError(f"{where}: is damaged; restore the file, or build the index again") from error
