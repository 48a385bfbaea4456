"""The manifest: the one file that says what belongs to an index. Replacing it is how an index changes.

Every other file of an index is written once, under a new name, and counts only when the manifest lists it. So a
program that is killed, at any moment, leaves what was there before the last replacement.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fewshot_seg.errors import DataError, describe
from fewshot_seg.imaging.export import atomic_file
from fewshot_seg.retrieval.identity import Identity
from fewshot_seg.retrieval.roots import Root, Source
from fewshot_seg.retrieval.segments import SegmentEntry

__all__ = ["NAME", "Listed", "Manifest", "read_manifest", "write_manifest"]

NAME: Final = "index.json"
FORMAT: Final = 1


@dataclass(frozen=True)
class Listed:
    """A segment as the manifest lists it: its files, and which of its rows were removed (rising numbers)."""

    entry: SegmentEntry
    removed: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))

    def to_json(self) -> dict[str, Any]:
        """A dict of JSON values; `from_json` reads it."""
        return self.entry.to_json() | {"removed": _runs(self.removed)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Listed:
        """What `to_json` gave; KeyError, TypeError or ValueError for anything else."""
        entry = SegmentEntry.from_json(values)
        runs = [np.arange(start, start + count) for start, count in values["removed"]]
        removed = np.concatenate([np.empty(0, np.int64), *runs])
        if len(removed) and not 0 <= removed.min() <= removed.max() < entry.count:
            raise ValueError("rows were removed that there are not")
        return cls(entry, removed)


@dataclass(frozen=True)
class Manifest:
    """What an index's folder holds.

    Attributes:
        identity: whose vectors.
        segments: of the index, in order.
        pending: of work that was interrupted: finished vectors that are not part of the index yet.
        complete: False while the first build is under way: there is no index yet.
        roots: folders that relative paths count from.
        sources: folders and patterns that were given, for `update` to look through.
        excluded: (path, root) of images that were removed by name, which `update` must not bring back.
        columns: names, in order of their first appearance.
    """

    identity: Identity
    segments: tuple[Listed, ...] = ()
    pending: tuple[Listed, ...] = ()
    complete: bool = False
    roots: tuple[Root, ...] = ()
    sources: tuple[Source, ...] = ()
    excluded: tuple[tuple[str, int | None], ...] = ()
    columns: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """A dict of JSON values; `from_json` reads it."""
        return {
            "format": FORMAT,
            "embedder": asdict(self.identity),
            "complete": self.complete,
            "columns": list(self.columns),
            "roots": [asdict(root) for root in self.roots],
            "sources": [asdict(source) for source in self.sources],
            "excluded": [list(one) for one in self.excluded],
            "segments": [segment.to_json() for segment in self.segments],
            "pending": [segment.to_json() for segment in self.pending],
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Manifest:
        """What `to_json` gave; KeyError, TypeError or ValueError for anything else."""
        identity = Identity(**values["embedder"])
        if not isinstance(identity.dim, int) or not isinstance(identity.spec, dict):
            raise TypeError("no embedder")
        return cls(
            identity,
            segments=tuple(Listed.from_json(one) for one in values["segments"]),
            pending=tuple(Listed.from_json(one) for one in values["pending"]),
            complete=bool(values["complete"]),
            roots=tuple(Root(**one) for one in values["roots"]),
            sources=tuple(Source(**one) for one in values["sources"]),
            excluded=tuple((str(path), root) for path, root in values["excluded"]),
            columns=tuple(str(name) for name in values["columns"]),
        )


def read_manifest(folder: Path) -> Manifest | None:
    """The folder's manifest; None where it has none.

    Raises:
        DataError: it can't be read, is damaged, or a newer version wrote it.
    """
    path = folder / NAME
    try:
        text = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise DataError(f"{describe(path)}: cannot be read ({error.strerror}); check the folder") from error
    try:
        values = json.loads(text)
        if isinstance(values, dict) and isinstance(values.get("format"), int) and values["format"] > FORMAT:
            raise DataError(f"{describe(path)}: has format {values['format']}: a newer fewshot-seg wrote it; upgrade")
        return Manifest.from_json(values)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{describe(path)}: is damaged; restore it, or build the index again") from error


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Replace the folder's manifest.

    Raises:
        OutputError: it cannot be written; the old one stays.
    """
    with atomic_file(folder / NAME) as stream:
        # Only ASCII: names that are not valid UTF-8 come back as they were.
        stream.write(json.dumps(manifest.to_json(), indent=1).encode("ascii") + b"\n")
        stream.flush()
        os.fsync(stream.fileno())


def _runs(numbers: Sequence[int] | NDArray[np.int64]) -> list[list[int]]:
    """Rising numbers as [start, count] of each unbroken run: what is removed together was often added together."""
    numbers = np.asarray(numbers, np.int64)
    if not len(numbers):
        return []
    starts = np.flatnonzero(np.diff(numbers, prepend=numbers[0] - 2) != 1)
    counts = np.diff(np.append(starts, len(numbers)))
    return [[int(numbers[start]), int(count)] for start, count in zip(starts, counts, strict=True)]
