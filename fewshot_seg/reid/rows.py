"""Sparse rows: a matrix of which each row has few values, as three tensors that any device can work with."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Rows:
    """An (N,M) matrix, row by row (compressed sparse rows).

    Attributes:
        start: (N + 1,) int64: row i's values are those from `start[i]` to before `start[i + 1]`.
        column: (nnz,) int64, ascending in each row.
        value: (nnz,) their values.
        width: M.
    """

    start: Tensor
    column: Tensor
    value: Tensor
    width: int

    def __len__(self) -> int:
        """N."""
        return len(self.start) - 1

    @property
    def lengths(self) -> Tensor:
        """(N,) int64: how many values each row has."""
        return self.start.diff()

    def gather(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The values of some rows, one row after the other.

        Args:
            rows: (K,) int64, in any order, also more than once.

        Returns:
            (n,) int64, to which of the K places each value belongs; (n,) columns; (n,) values.
        """
        lengths = self.lengths[rows]
        place = torch.arange(len(rows), device=rows.device).repeat_interleave(lengths)
        before = lengths.cumsum(0) - lengths
        at = torch.arange(len(place), device=rows.device) + (self.start[rows] - before)[place]
        return place, self.column[at], self.value[at]

    def transpose(self) -> Rows:
        """The (M,N) matrix."""
        row = torch.arange(len(self), device=self.column.device).repeat_interleave(self.lengths)
        order = self.column.argsort(stable=True)
        return Rows(_starts(self.column, self.width), row[order], self.value[order], len(self))

    def rows(self, first: int, last: int) -> Rows:
        """The rows from `first` to before `last`."""
        start = self.start[first : last + 1]
        held = slice(int(start[0]), int(start[-1]))
        return Rows(start - start[0], self.column[held], self.value[held], self.width)


def from_cells(row: Tensor, column: Tensor, value: Tensor, shape: tuple[int, int]) -> Rows:
    """The matrix of these cells; values of one cell are added up.

    Args:
        row: (n,) int64.
        column: (n,) int64.
        value: (n,).
        shape: (N,M).
    """
    key, place = torch.unique(row * shape[1] + column, return_inverse=True)
    summed = torch.zeros(len(key), dtype=value.dtype, device=value.device).index_add_(0, place, value)
    return Rows(_starts(key // shape[1], shape[0]), key % shape[1], summed, shape[1])


def cat(parts: list[Rows]) -> Rows:
    """The rows of several matrices of one width, one below the other."""
    lengths = torch.cat([part.lengths for part in parts])
    start = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
    column, value = (torch.cat([getattr(part, name) for part in parts]) for name in ("column", "value"))
    return Rows(start, column, value, parts[0].width)


def _starts(row: Tensor, number: int) -> Tensor:
    """(number + 1,) int64 from the row of each value."""
    return torch.cat([row.new_zeros(1), row.bincount(minlength=number).cumsum(0)])
