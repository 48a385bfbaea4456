"""Changing an index: in its folder, which is claimed, or in memory. What was read of it before stays as it was."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fewshot_seg.retrieval.contents import Contents, open_contents
from fewshot_seg.retrieval.database import connect, copy_of, copy_rows, damage, insert_rows, transaction, write_config
from fewshot_seg.retrieval.folder import NAME, new_name, sweep
from fewshot_seg.retrieval.rows import Root, Row
from fewshot_seg.retrieval.vectors import Vectors, write_vectors

PART_ROWS: Final = 1024  # that are kept in memory while images are added: what a killed program loses at most,
PART_SECONDS: Final = 30.0  # or this much of its work
MANY_HOLES: Final = 4096  # and more than there are images: the vectors are then written anew
_PIECE_ROWS: Final = 4096  # copied at a time


class Store:
    """What changes an index. Each change is one transaction; vectors are on disk before a row says where they are."""

    def __init__(self, contents: Contents, roots: tuple[Root, ...] | None = None) -> None:
        """Of an index; `roots` are those of the rows that will come, and are recorded no later than these."""
        self._folder = contents.folder
        self._memory = None if contents.folder else copy_of(contents.database, ":memory:")
        self._stored = [contents.stored]  # in memory
        left = sweep(self._folder, contents.config.stale) if self._folder else ()
        self.config = replace(contents.config, stale=left, roots=contents.config.roots if roots is None else roots)
        self._rows: list[Row] = []
        self._vectors: list[NDArray[np.float32]] = []
        self._since = time.monotonic()

    def append(self, row: Row, vector: NDArray[np.float32]) -> None:
        """Take in an image; it is pending until all that is pending is counted. OutputError: it cannot be written."""
        self._rows.append(row)
        self._vectors.append(vector)
        if len(self._rows) >= PART_ROWS or time.monotonic() - self._since >= PART_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what was taken in, so that an interruption doesn't lose it. OutputError: it cannot be written."""
        if self._rows:
            self._name_vectors()
            vectors, start = np.stack(self._vectors).astype(np.float32, copy=False), self.config.end  # (n, D)
            self._write_vectors(self.config.vectors, start, [vectors])
            with self._change(end=start + len(vectors)) as database:
                insert_rows(database, start, self._rows, vectors)
            self._rows, self._vectors = [], []
        self._since = time.monotonic()

    def commit(self, gone: Iterable[int] = (), *, count: bool = False, **changes: Any) -> Contents:
        """Change the index, in one step.

        Args:
            gone: slots whose rows go.
            count: everything pending becomes part of the index.
            changes: attributes of its config.

        Returns:
            What it holds now.

        Raises:
            OutputError: it cannot be written; the index is then as before.
        """
        self.flush()
        if count:
            changes |= {"counted": self.config.end, "complete": True}
        with self._change(**changes) as database:
            database.executemany("DELETE FROM rows WHERE slot = ?", ((int(slot),) for slot in gone))
        contents = self.contents()
        holes = self.config.counted - len(contents.slots)
        return self.rewrite(contents, pending=True) if holes > max(MANY_HOLES, len(contents.slots)) else contents

    def rewrite(self, source: Contents, *, pending: bool = False, **changes: Any) -> Contents:
        """Replace all rows and vectors by those of `source`, in order, without holes.

        With `pending` what is pending there comes, too; `changes` are attributes of the config.

        Raises:
            OutputError: it cannot be written; the index is then as before.
        """
        self._name_vectors()
        name, old = new_name(), self.config.vectors
        slots = np.append(source.slots, [slot for slot, _ in source.pending()] if pending else []).astype(np.int64)
        with self._change(stale=(*self.config.stale, name)):  # so that it is known for ours, should we be killed
            pass
        vectors = Vectors(source.stored, slots)
        pieces = (vectors[start : start + _PIECE_ROWS] for start in range(0, len(slots), _PIECE_ROWS))
        if self._folder is None:
            self._stored = []
        self._write_vectors(name, 0, pieces)
        stale = (*(one for one in self.config.stale if one != name), old)
        changes |= {"vectors": name, "stale": stale, "counted": len(source.slots), "end": len(slots)}
        with self._change(**changes) as database:
            copy_rows(database, source.database, slots)
        if self._folder is not None:
            sweep(self._folder, stale)
        return self.contents()

    def contents(self) -> Contents:
        """What the index holds now. One in memory belongs to that from here on."""
        if self._memory is None:
            assert self._folder is not None
            return open_contents(self._folder, 0)
        stored = np.concatenate([np.empty((0, self.config.identity.dim), np.float32), *self._stored])
        return Contents(self.config, None, self._memory, stored)

    def _name_vectors(self) -> None:
        """A file of ours is named in the database before it is made."""
        if not self.config.vectors:
            with self._change(vectors=new_name()):
                pass

    def _write_vectors(self, name: str, start: int, parts: Iterable[NDArray[np.float32]]) -> None:
        if self._folder is None:
            self._stored += [np.array(part) for part in parts]
        else:
            write_vectors(self._folder / name, start, parts)

    @contextmanager
    def _change(self, **changes: Any) -> Iterator[sqlite3.Connection]:
        config = replace(self.config, **changes)
        path = (self._folder or Path()) / NAME
        with damage(path):
            database = self._memory or connect(path, create=True)
        try:
            with transaction(database, path):
                write_config(database, config)
                yield database
        finally:
            if database is not self._memory:
                database.close()
        self.config = config
