"""Segments: the parts of an index. Each is two files that never change once they are written.

NAME.npy holds the vectors, (n, D) float32, NAME.jsonl a row for each. The manifest keeps their sizes and checksums, so
that a file which is cut short or damaged is known and named. Rows that were removed stay in the files until the
index is rebuilt; the manifest says which.
"""

from __future__ import annotations

import os
import secrets
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fewshot_seg.errors import DataError, describe
from fewshot_seg.imaging.export import atomic_file
from fewshot_seg.retrieval.rows import Row, RowFile, encode_rows

__all__ = ["FOLDER", "FileMark", "Segment", "SegmentEntry", "open_segment", "verify_segment", "write_segment"]

FOLDER = "segments"
KINDS = {"vectors": ".npy", "rows": ".jsonl"}
_PIECE = 2**24  # bytes that are checked at a time


class FileMark(NamedTuple):
    """How a file is known to be whole: its size, and the CRC-32 of its content."""

    bytes: int
    crc32: int


@dataclass(frozen=True)
class SegmentEntry:
    """What the manifest says of a segment: its name, number of rows, and its files' marks by kind."""

    name: str
    count: int
    marks: Mapping[str, FileMark]

    def files(self, folder: Path) -> dict[str, Path]:
        """Its files by kind."""
        return {kind: folder / FOLDER / f"{self.name}{suffix}" for kind, suffix in KINDS.items()}

    def to_json(self) -> dict[str, Any]:
        """A dict of JSON values; `from_json` reads it."""
        marks = {kind: mark._asdict() for kind, mark in self.marks.items()}
        return {"name": self.name, "count": self.count, "files": marks}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> SegmentEntry:
        """What `to_json` gave; KeyError, TypeError or ValueError for anything else."""
        marks = {kind: FileMark(int(mark["bytes"]), int(mark["crc32"])) for kind, mark in values["files"].items()}
        if set(marks) != set(KINDS) or Path(values["name"]).name != values["name"]:
            raise ValueError("no segment's name and files")
        return cls(str(values["name"]), int(values["count"]), marks)


@dataclass(frozen=True, eq=False)
class Segment:
    """A part of an index, in memory or mapped from its files.

    Attributes:
        vectors: (n, D) float32 of unit norm.
        rows: n of them.
        entry: the manifest's, if it is in files.
        removed: numbers of the rows that don't count any more, rising.
    """

    vectors: NDArray[np.float32]
    rows: Sequence[Row]
    entry: SegmentEntry | None = None
    removed: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))

    def without(self, places: Sequence[int] | NDArray[np.int64]) -> Segment:
        """The same segment with these rows removed, too."""
        removed = np.union1d(self.removed, np.asarray(places, np.int64))
        return replace(self, removed=removed)

    @cached_property
    def alive(self) -> NDArray[np.int64]:
        """(m,) numbers of the rows that count, rising."""
        return np.setdiff1d(np.arange(len(self.rows)), self.removed, assume_unique=True)

    def __len__(self) -> int:
        """How many rows count."""
        return len(self.rows) - len(self.removed)


def write_segment(
    folder: Path, vectors: Iterable[NDArray[np.float32]], rows: Iterable[Row], shape: tuple[int, int]
) -> SegmentEntry:
    """Write a segment's files, whole, under a new name. They belong to no index until a manifest lists them.

    Args:
        folder: the index's.
        vectors: (n_i, D) float32 arrays, together n rows.
        rows: n of them.
        shape: (n, D), n >= 1.

    Raises:
        OutputError: they cannot be written.
    """
    entry = SegmentEntry(secrets.token_hex(8), shape[0], {})
    files = entry.files(folder)
    with _marked(files["vectors"]) as stream:
        np.lib.format.write_array_header_1_0(
            stream,
            {"descr": "<f4", "fortran_order": False, "shape": shape},
        )
        for part in vectors:
            stream.write(np.ascontiguousarray(part, "<f4").data)
    marks = {"vectors": stream.mark}
    with _marked(files["rows"]) as stream:
        for line in encode_rows(rows):
            stream.write(line)
    return replace(entry, marks=marks | {"rows": stream.mark})


def open_segment(folder: Path, entry: SegmentEntry, dim: int) -> Segment:
    """The segment, its files mapped into memory; their sizes are checked, their content by `verify_segment`.

    Raises:
        DataError: a file is missing, cut short, or not what the manifest says; the message names it.
    """
    files = entry.files(folder)
    for kind, path in files.items():
        _check_size(path, entry.marks[kind].bytes)
    # Copy on write: torch takes no read-only memory without a warning. Nobody writes, so nothing is copied.
    try:
        vectors = np.load(files["vectors"], mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DataError(f"{describe(files['vectors'])}: is damaged ({error}); {_MEND}") from error
    if vectors.shape != (entry.count, dim) or vectors.dtype != np.float32:
        raise DataError(f"{describe(files['vectors'])}: is {vectors.shape}, not {(entry.count, dim)}; {_MEND}")
    return Segment(np.asarray(vectors), RowFile(files["rows"], entry.count), entry)


def verify_segment(folder: Path, entry: SegmentEntry) -> None:
    """Read a segment's files and compare their checksums (about a second for 3 GB that are in memory).

    Raises:
        DataError: a file is missing, cut short or damaged; the message names it.
    """
    for kind, path in entry.files(folder).items():
        _check_size(path, entry.marks[kind].bytes)
        crc = 0
        try:
            with path.open("rb") as stream:
                while piece := stream.read(_PIECE):
                    crc = zlib.crc32(piece, crc)
        except OSError as error:
            raise DataError(f"{describe(path)}: cannot be read ({error.strerror}); {_MEND}") from error
        if crc != entry.marks[kind].crc32:
            raise DataError(f"{describe(path)}: is damaged (its checksum is another); {_MEND}")


_MEND = "restore it from a copy, or build the index again"


def _check_size(path: Path, size: int) -> None:
    try:
        there = path.stat().st_size
    except OSError as error:
        raise DataError(f"{describe(path)}: cannot be read ({error.strerror}); {_MEND}") from error
    if there != size:
        what = "cut short" if there < size else "too long"
        raise DataError(f"{describe(path)}: is {what} ({there} bytes, not {size}); {_MEND}")


class _Marked:
    """A stream that keeps count of what is written."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream = stream
        self.mark = FileMark(0, 0)

    def write(self, data: bytes | memoryview) -> int:
        size = memoryview(data).nbytes
        self.mark = FileMark(self.mark.bytes + size, zlib.crc32(data, self.mark.crc32))
        self.stream.write(data)
        return size


@contextmanager
def _marked(path: Path) -> Iterator[_Marked]:
    with atomic_file(path) as stream:
        marked = _Marked(stream)
        yield marked
        stream.flush()
        os.fsync(stream.fileno())  # a manifest must not outlive a power cut that its files don't
