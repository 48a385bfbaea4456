"""All vectors of an index as one matrix, wherever they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewshot_seg.retrieval.segments import Segment

__all__ = ["Vectors"]


class Vectors:
    """An (N, D) float32 matrix over segments: a slice or a choice of rows is read when it is asked for.

    It has what chunked work needs of an array: shape, dtype, ndim, len, and indexing by a number, a slice or numbers of
    rows, all of which give arrays. A slice within one segment that has lost no rows is a view of the mapped file.
    `numpy.asarray` reads everything (a view, too, where there is one such segment).

    Args:
        segments: in order.
        dim: D.
    """

    dtype = np.dtype(np.float32)
    ndim = 2

    def __init__(self, segments: Sequence[Segment], dim: int) -> None:
        self._segments = [segment for segment in segments if len(segment)]
        self._starts = np.cumsum([0, *(len(segment) for segment in self._segments)])
        self.shape = (int(self._starts[-1]), dim)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: int | slice | Sequence[int] | NDArray[Any]) -> NDArray[np.float32]:
        """(D,) for a number; (n, D) for a slice, row numbers, or an (N,) bool mask."""
        if isinstance(key, slice):
            start, stop, step = key.indices(len(self))
            return self._slice(start, stop) if step == 1 else self._rows(np.arange(start, stop, step))
        if isinstance(key, int | np.integer):
            row: NDArray[np.float32] = self._rows(np.asarray([range(len(self))[key]]))[0]
            return row
        return self._rows(np.arange(len(self))[np.asarray(key)])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        array = self._slice(0, len(self))
        return np.array(array, dtype=dtype) if copy else array.astype(dtype or array.dtype, copy=False)

    def place(self, row: int) -> tuple[Segment, int]:
        """The segment that holds a row, and the row's number in it."""
        segment = int(np.searchsorted(self._starts, row, side="right")) - 1
        return self._segments[segment], int(self._segments[segment].alive[row - self._starts[segment]])

    def _slice(self, start: int, stop: int) -> NDArray[np.float32]:
        parts = []
        for first, segment in zip(self._starts, self._segments, strict=False):
            low, high = max(start - int(first), 0), min(stop - int(first), len(segment))
            if low < high:
                whole = not len(segment.removed)
                parts.append(segment.vectors[low:high] if whole else segment.vectors[segment.alive[low:high]])
        if len(parts) == 1:
            return parts[0]
        return np.concatenate(parts) if parts else np.empty((0, self.shape[1]), np.float32)

    def _rows(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """(n, D), a copy, in the order asked for."""
        result = np.empty((len(rows), self.shape[1]), np.float32)
        owners = np.searchsorted(self._starts, rows, side="right") - 1
        for owner in np.unique(owners):
            mine = np.flatnonzero(owners == owner)
            segment = self._segments[owner]
            result[mine] = segment.vectors[segment.alive[rows[mine] - self._starts[owner]]]
        return result
