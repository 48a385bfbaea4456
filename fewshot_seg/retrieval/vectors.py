"""The vectors of an index: one file of float32 that only grows, and the matrix of those that count."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewshot_seg.errors import DataError, OutputError, describe


class Vectors:
    """An (N, D) float32 matrix: rows of a larger one, read when they are asked for.

    It has what chunked work needs of an array: shape, dtype, ndim, len, and indexing by a number, a slice or numbers of
    rows, all of which give arrays. A slice of neighbours is a view of the mapped file. `numpy.asarray` reads everything
    (a view, too, where nothing was removed).

    Args:
        stored: (S, D).
        slots: (N,) rising numbers of its rows; None means all.
    """

    dtype = np.dtype(np.float32)
    ndim = 2

    def __init__(self, stored: NDArray[np.float32], slots: NDArray[np.int64] | None = None) -> None:
        self._stored = stored
        self._slots = np.arange(len(stored)) if slots is None else slots
        self.shape = (len(self._slots), stored.shape[1])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: int | slice | Sequence[int] | NDArray[Any]) -> NDArray[np.float32]:
        """(D,) for a number; (n, D) for a slice, row numbers, or an (N,) bool mask."""
        if not isinstance(key, slice):
            taken: NDArray[np.float32] = self._stored[self._slots[key if isinstance(key, int) else np.asarray(key)]]
            return taken
        slots = self._slots[key]
        if len(slots) and (key.step or 1) == 1 and slots[-1] - slots[0] == len(slots) - 1:
            return self._stored[slots[0] : slots[-1] + 1]
        return self._stored[slots]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        array = self[:]
        return np.array(array, dtype=dtype) if copy else array.astype(dtype or array.dtype, copy=False)


def map_vectors(path: Path, least: int, most: int, dim: int) -> NDArray[np.float32]:
    """The vectors of a file, mapped into memory: (n, D), `least` <= n <= `most`.

    Raises:
        DataError: it is missing or has fewer.
    """
    if not most:
        return np.empty((0, dim), np.float32)
    try:
        size = path.stat().st_size
        count = min(most, size // (4 * dim))
        if count < least:
            raise DataError(
                f"{describe(path)}: is cut short ({size} bytes, not {4 * dim * least}); "
                "restore it from a copy, or build the index again"
            )
        # Copy on write: torch takes no read-only memory without a warning. Nobody writes, so nothing is copied.
        shape = (count, dim)
        return np.asarray(np.memmap(path, "<f4", "c", shape=shape)) if count else np.empty(shape, np.float32)
    except OSError as error:
        raise DataError(
            f"{describe(path)}: cannot be read ({error.strerror}); restore it from a copy, or build the index again"
        ) from error


def write_vectors(path: Path, start: int, parts: Iterable[NDArray[np.float32]]) -> None:
    """Write vectors (n_i, D) into a file from row `start` on, over what a killed program left there; on disk when done.

    Raises:
        OutputError: it can't be written, or is no regular file.
    """
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    try:
        with open(os.open(path, flags, 0o666), "wb") as stream:  # noqa: PTH123
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise OutputError(f"{describe(path)}: is not a regular file; remove it, or choose another folder")
            for part in parts:
                stream.seek(4 * start * part.shape[1])
                stream.write(np.ascontiguousarray(part, "<f4").data)
                start += len(part)
            stream.flush()
            os.fsync(stream.fileno())  # before the database points at them
    except OSError as error:
        raise OutputError(
            f"{describe(path)}: cannot write ({error.strerror}); check the folder and the disk"
        ) from error
