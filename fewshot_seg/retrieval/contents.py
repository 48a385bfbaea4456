"""What an index holds at one moment, in memory or in a folder, whatever others do to the folder meanwhile."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import weakref
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewshot_seg.errors import DataError, describe
from fewshot_seg.retrieval.database import (
    MEND,
    Config,
    connect,
    copy_of,
    damage,
    in_memory,
    read_config,
    read_rows,
    rows_damaged,
    vector_sum,
)
from fewshot_seg.retrieval.folder import NAME, check_is_index
from fewshot_seg.retrieval.identity import Identity
from fewshot_seg.retrieval.rows import Row, identity_key
from fewshot_seg.retrieval.vectors import Vectors, map_vectors


@dataclass(frozen=True, eq=False)
class Contents:
    """An index at one moment.

    Attributes:
        config: what is true of it as a whole.
        folder: where it is; None for an index in memory.
        database: a copy of its own, which nobody changes; it is closed with this object.
        stored: (S, D) float32, the vectors by slot: removed and pending ones, too.
    """

    config: Config
    folder: Path | None
    database: sqlite3.Connection
    stored: NDArray[np.float32]

    def __post_init__(self) -> None:
        weakref.finalize(self, self.database.close)

    @property
    def identity(self) -> Identity:
        """Whose vectors."""
        return self.config.identity

    @property
    def name(self) -> str:
        """For messages."""
        return "the index" if self.folder is None else describe(self.folder)

    @cached_property
    def slots(self) -> NDArray[np.int64]:
        """(N,) where each image's vector is, rising."""
        found = self.database.execute("SELECT slot FROM rows WHERE slot < ? ORDER BY slot", (self.config.counted,))
        return np.fromiter((slot for (slot,) in found), np.int64)

    @cached_property
    def vectors(self) -> Vectors:
        """(N, D) float32 of unit norm."""
        return Vectors(self.stored, self.slots)

    def pending(self) -> Iterator[tuple[int, Row]]:
        """Slot and row of what interrupted work has left, where the vector is whole."""
        for slot, row in read_rows(self.database, self.config.counted, self.config.end):
            (checksum,) = self.database.execute("SELECT vector_crc32 FROM rows WHERE slot = ?", (slot,)).fetchone()
            if slot < len(self.stored) and vector_sum(self.stored[slot]) == checksum:
                yield slot, row

    def row(self, number: int) -> Row:
        """What is known of image `number`, 0 to N - 1."""
        slot = int(self.slots[number])
        with damage(self._path):
            ((_, row),) = read_rows(self.database, slot, slot + 1)
        return row

    def rows(self) -> Iterator[Row]:
        """Every image's, in order."""
        with damage(self._path):
            for _, row in read_rows(self.database, 0, self.config.counted):
                yield row

    def locate(self, row: Row) -> str:
        """Where an image's file is now; where it was, if it is nowhere."""
        if row.root is None:
            return row.path
        root = self.config.roots[row.root]
        first = os.path.join(root.absolute, row.path)  # noqa: PTH118
        if os.path.lexists(first) or self.folder is None or root.relative is None:
            return first
        second = os.path.join(self.folder, root.relative, row.path)  # noqa: PTH118
        return second if os.path.lexists(second) else first

    def by_file(self) -> dict[str, tuple[int, Row]]:
        """Every image's number and row, by `identity_key` of its file."""
        return {identity_key(self.locate(row)): (number, row) for number, row in enumerate(self.rows())}

    def fingerprint(self) -> str:
        """Names the images and vectors: another as soon as any comes, goes or changes."""
        query = "SELECT vector_crc32, row_crc32 FROM rows WHERE slot < ? ORDER BY slot"
        sums = self.database.execute(query, (self.config.counted,)).fetchall()
        return hashlib.sha256(np.asarray(sums, np.int64).tobytes()).hexdigest()

    def verify(self) -> None:
        """Compare everything with its checksum (a second for 1 GB that is in memory).

        Raises:
            DataError: a file is damaged; the message names it.
        """
        with damage(self._path):
            if rows_damaged(self.database):
                raise ValueError("its checksums are others")
            found = self.database.execute(
                "SELECT slot, vector_crc32, path FROM rows WHERE slot < ?", (self.config.counted,)
            )
            for slot, checksum, path in found:
                if vector_sum(self.stored[slot]) != checksum:
                    what = f"is damaged (the vector of {describe(path)} has another checksum)"
                    raise DataError(f"{describe(self._path.with_name(self.config.vectors))}: {what}; {MEND}")

    @property
    def _path(self) -> Path:
        return (self.folder or Path()) / NAME


def empty_contents(identity: Identity, folder: Path | None = None) -> Contents:
    """An index without images, which is in no folder yet."""
    return Contents(Config(identity), folder, in_memory(), np.empty((0, identity.dim), np.float32))


def open_contents(folder: Path, verify_up_to: int | None) -> Contents:
    """What the index in a folder holds; `verify`ed where it has no more images than `verify_up_to`, or that is None.

    Raises:
        DataError: no index, or a file that is missing, cut short, damaged or of a newer version; the message names it.
    """
    check_is_index(folder)
    path = folder / NAME
    with damage(path), closing(connect(path)) as connection:
        connection.execute("BEGIN")
        config = read_config(connection)  # from here on, until the copy is whole, no other process can commit
        stored = map_vectors(folder / config.vectors, config.counted, config.end, config.identity.dim)
        contents = Contents(config, folder, copy_of(connection), stored)
    if verify_up_to is None or len(contents.slots) <= verify_up_to:
        contents.verify()
    return contents


def summary(contents: Contents) -> dict[str, Any]:
    """An index in numbers and names, as JSON values; `images` counts those that count, sizes are in bytes."""
    identity, config = contents.identity, contents.config
    files = [contents.folder / name for name in (NAME, config.vectors) if name] if contents.folder else []
    return {
        "folder": None if contents.folder is None else str(contents.folder),
        "complete": config.complete,
        "images": len(contents.vectors),
        "dim": identity.dim,
        "embedder": {
            "source": identity.source,
            "backbone": identity.spec["backbone"],
            "preprocessing": dict(identity.spec["preprocessing"]),
            "weights_sha256": identity.weights,
        },
        "columns": list(config.columns),
        "sources": [source.pattern for source in config.sources],
        "bytes": sum(path.stat().st_size for path in files if path.exists()),
        "removed_rows": config.counted - len(contents.slots),
        "excluded": len(config.excluded),
        "pending": sum(1 for _ in contents.pending()),
    }
