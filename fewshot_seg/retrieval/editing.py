"""Changing an index: images are added, replaced and removed, and none of it counts before all of it is done."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fewshot_seg.retrieval.contents import Contents, commit, write_part
from fewshot_seg.retrieval.rows import Row
from fewshot_seg.retrieval.segments import Segment

__all__ = ["Editor", "regrouped"]

PART_ROWS: Final = 1024  # of a segment while images are added: what a killed program loses at most,
PART_SECONDS: Final = 30.0  # or this much of its work
MANY: Final = 32  # segments, above which small ones are put together
FULL_BYTES: Final = 2**28  # of a segment that stays as it is
_PIECE_ROWS: Final = 4096  # rows copied at a time


class Editor:
    """Takes new images into an index: parts go to the folder as they fill, and become the index's at `finish`.

    Until then they are listed as pending: after an interruption, they needn't be made again.

    Args:
        contents: the index, its pending segments opened.
    """

    def __init__(self, contents: Contents) -> None:
        self._contents = contents
        self._rows: list[Row] = []
        self._vectors: list[NDArray[np.float32]] = []
        self._since = time.monotonic()

    def append(self, row: Row, vector: NDArray[np.float32]) -> None:
        """Take in an image.

        Raises:
            OutputError: a part is full and cannot be written.
        """
        self._rows.append(row)
        self._vectors.append(vector)
        if len(self._rows) >= PART_ROWS or time.monotonic() - self._since >= PART_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what was taken in, so that an interruption doesn't lose it.

        Raises:
            OutputError: it cannot be written.
        """
        if self._rows:
            stacked = np.stack(self._vectors).astype(np.float32, copy=False)  # (n, D)
            part = write_part(self._contents, [stacked], self._rows, len(self._rows))
            pending = regrouped(self._contents, (*self._contents.pending, part))
            self._contents = replace(self._contents, pending=pending)
            commit(self._contents)
            self._rows, self._vectors = [], []
        self._since = time.monotonic()

    def finish(self, dropped: Collection[int] = (), **changes: Any) -> Contents:
        """Make everything pending part of the index, in one step.

        Args:
            dropped: numbers of rows of the index that go.
            changes: other attributes of the contents.

        Returns:
            What the index holds now.

        Raises:
            OutputError: it cannot be written; the index is then as before.
        """
        self.flush()
        here = self._contents
        segments = regrouped(here, (*here.without(dropped), *here.pending))
        self._contents = replace(here, segments=segments, pending=(), complete=True, **changes)
        commit(self._contents)
        return self._contents


def regrouped(contents: Contents, segments: Sequence[Segment], many: int | None = None) -> tuple[Segment, ...]:
    """The same rows in the same order, in fewer segments if there are many; nothing is committed.

    Neighbours are put together as long as they are small, and so the number of segments stays small however an index
    grew. Rows that were removed are left behind.

    Args:
        contents: the index that they belong to.
        segments: of it, or about to be.
        many: how many may stay as they are; None means `MANY`.

    Raises:
        OutputError: a new one cannot be written.
    """
    segments = tuple(segment for segment in segments if len(segment))
    if len(segments) <= (MANY if many is None else many):
        return segments
    full = max(1, FULL_BYTES // (4 * contents.identity.dim))
    groups: list[list[Segment]] = []
    for segment in segments:
        if groups and sum(len(one) for one in groups[-1]) + len(segment) <= full:
            groups[-1].append(segment)
        else:
            groups.append([segment])
    return tuple(_joined(contents, group) for group in groups)


def _joined(contents: Contents, group: Sequence[Segment]) -> Segment:
    if len(group) == 1 and not len(group[0].removed):
        return group[0]
    rows = (segment.rows[int(place)] for segment in group for place in segment.alive)
    return write_part(contents, _pieces(group), rows, sum(len(segment) for segment in group))


def _pieces(group: Sequence[Segment]) -> Iterator[NDArray[np.float32]]:
    for segment in group:
        for start in range(0, len(segment), _PIECE_ROWS):
            yield segment.vectors[segment.alive[start : start + _PIECE_ROWS]]
