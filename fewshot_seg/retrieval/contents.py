"""What an index holds at one moment, in memory or in a folder, and how a folder goes from one state to the next."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fewshot_seg.errors import ConfigError, DataError, OutputError, describe
from fewshot_seg.imaging.export import make_folder
from fewshot_seg.locks import sole_user
from fewshot_seg.retrieval.identity import Identity
from fewshot_seg.retrieval.manifest import NAME, Listed, Manifest, read_manifest, write_manifest
from fewshot_seg.retrieval.roots import Root, Source, locate
from fewshot_seg.retrieval.rows import Row
from fewshot_seg.retrieval.segments import FOLDER, Segment, open_segment, verify_segment, write_segment
from fewshot_seg.retrieval.vectors import Vectors

__all__ = ["Contents", "claim", "commit", "open_contents", "write_part"]

_ATTEMPTS = 5
_OWN = (".lock", FOLDER, NAME)
_TEMPORARY = ".fewshot-seg-"


@dataclass(frozen=True, eq=False)
class Contents:
    """An index at one moment; the attributes are those of `manifest.Manifest`, the segments' files opened.

    Attributes:
        folder: where it is; None for an index in memory.
    """

    identity: Identity
    folder: Path | None = None
    segments: tuple[Segment, ...] = ()
    pending: tuple[Segment, ...] = ()
    complete: bool = False
    roots: tuple[Root, ...] = ()
    sources: tuple[Source, ...] = ()
    excluded: tuple[tuple[str, int | None], ...] = ()
    columns: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """For messages."""
        return "the index" if self.folder is None else describe(self.folder)

    @cached_property
    def vectors(self) -> Vectors:
        """(N, D) float32 of unit norm."""
        return Vectors(self.segments, self.identity.dim)

    def row(self, number: int) -> Row:
        """What is known of image `number`, 0 to N - 1."""
        segment, place = self.vectors.place(number)
        return segment.rows[place]

    def rows(self) -> Iterator[Row]:
        """Every image's, in order."""
        return chain.from_iterable((segment.rows[int(place)] for place in segment.alive) for segment in self.segments)

    def locate(self, row: Row) -> str:
        """Where an image's file is."""
        return locate(row.path, row.root, self.roots, self.folder)

    def without(self, rows: Iterable[int]) -> tuple[Segment, ...]:
        """The segments with these rows removed, too."""
        dropped = np.asarray(sorted(set(rows)), np.int64)
        kept, start = [], 0
        for segment in self.segments:
            mine = dropped[(dropped >= start) & (dropped < start + len(segment))] - start
            start += len(segment)
            kept.append(segment.without(segment.alive[mine]) if len(mine) else segment)
        return tuple(segment for segment in kept if len(segment))

    def to_manifest(self) -> Manifest:
        """What the folder's manifest has to say."""
        return Manifest(
            self.identity,
            tuple(_listed(segment) for segment in self.segments),
            tuple(_listed(segment) for segment in self.pending),
            self.complete,
            self.roots,
            self.sources,
            self.excluded,
            self.columns,
        )


def open_contents(folder: Path, verify_up_to: int | None, pending: bool = False) -> Contents:
    """What the index in a folder holds.

    Args:
        folder: the index's.
        verify_up_to: files are compared with their checksums if all together are no more bytes; None means always.
        pending: open what interrupted work has left, too.

    Raises:
        DataError: no index, or a file that is missing, cut short, damaged or of a newer version; the message names it.
    """
    for attempt in range(_ATTEMPTS):
        manifest = read_manifest(folder)
        if manifest is None:
            raise DataError(f"{describe(folder)}: is no index (it has no {NAME}); make one with 'index build'")
        try:
            return _opened(folder, manifest, verify_up_to, pending)
        except DataError:
            # Another process may have replaced the manifest, and then the files that only the old one had.
            if attempt + 1 == _ATTEMPTS or _same(read_manifest(folder), manifest):
                raise
    raise AssertionError("the last attempt returns or raises")


@contextmanager
def claim(folder: Path, on_wait: Callable[[], None] | None) -> Iterator[None]:
    """Be the only one that changes the folder; what a killed program left half done is cleared away.

    Args:
        folder: created if need be.
        on_wait: called once if another process is at work in it, which is then waited for; None refuses.

    Raises:
        ConfigError: it holds other files and no index. OutputError: it can't be written.
    """
    _refuse_foreign(folder)
    make_folder(folder)
    with sole_user(folder, on_wait=on_wait):
        _sweep(folder)
        yield


def commit(contents: Contents) -> None:
    """Make this the state of its folder, at once; files that don't belong to it any more go. Nothing in memory.

    Raises:
        OutputError: it cannot be written; the old state stays.
    """
    if contents.folder is not None:
        write_manifest(contents.folder, contents.to_manifest())
        _sweep(contents.folder)


def write_part(
    contents: Contents, vectors: Iterable[NDArray[np.float32]], rows: Sequence[Row] | Iterable[Row], count: int
) -> Segment:
    """A new segment beside an index's: in its folder, or in memory. It belongs to nothing yet.

    Args:
        contents: the index.
        vectors: arrays (n_i, D), together `count` rows.
        rows: `count` of them.
        count: >= 1.

    Raises:
        OutputError: it cannot be written.
    """
    if contents.folder is None:
        return Segment(np.concatenate(list(vectors)), list(rows))
    with _segment_folder(contents.folder):
        entry = write_segment(contents.folder, vectors, rows, (count, contents.identity.dim))
    return open_segment(contents.folder, entry, contents.identity.dim)


def _opened(folder: Path, manifest: Manifest, verify_up_to: int | None, pending: bool) -> Contents:
    size = sum(mark.bytes for one in manifest.segments for mark in one.entry.marks.values())
    if verify_up_to is None or size <= verify_up_to:
        for one in manifest.segments:
            verify_segment(folder, one.entry)
    return Contents(
        manifest.identity,
        folder,
        tuple(_segment(folder, one, manifest.identity.dim) for one in manifest.segments),
        tuple(_whole(folder, manifest)) if pending else (),
        manifest.complete,
        manifest.roots,
        manifest.sources,
        manifest.excluded,
        manifest.columns,
    )


def _segment(folder: Path, listed: Listed, dim: int) -> Segment:
    return open_segment(folder, listed.entry, dim).without(listed.removed)


def _whole(folder: Path, manifest: Manifest) -> Iterator[Segment]:
    """The pending segments; one that was damaged is left out, for its images can be embedded again."""
    for one in manifest.pending:
        with suppress(DataError):
            verify_segment(folder, one.entry)
            yield _segment(folder, one, manifest.identity.dim)


def _same(one: Manifest | None, other: Manifest) -> bool:
    return one is not None and one.to_json() == other.to_json()


def _listed(segment: Segment) -> Listed:
    assert segment.entry is not None, "a segment in memory has no place in a manifest"
    return Listed(segment.entry, segment.removed)


def _refuse_foreign(folder: Path) -> None:
    """An index gets a folder of its own: DIR is easily left out, and then the first folder of images stands there."""
    try:
        names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    except OSError as error:
        raise OutputError(f"{describe(folder)}: the folder cannot be listed ({error.strerror})") from error
    foreign = [name for name in names if name not in _OWN and not name.startswith(_TEMPORARY)]
    if foreign and NAME not in names:
        raise ConfigError(f"{describe(folder)}: holds other files and no index; choose a new folder for the index")


def _sweep(folder: Path) -> None:
    """Remove what no manifest lists: half-written files, and segments that the index doesn't need any more."""
    manifest = read_manifest(folder)
    listed = [] if manifest is None else [*manifest.segments, *manifest.pending]
    needed = {path.name for one in listed for path in one.entry.files(folder).values()}
    parts = folder / FOLDER
    found = list(folder.glob(f"{_TEMPORARY}*"))
    found += [path for path in parts.glob("*") if path.name not in needed] if parts.is_dir() else []
    for path in found:
        with suppress(OSError):
            path.unlink()


@contextmanager
def _segment_folder(folder: Path) -> Iterator[None]:
    try:
        (folder / FOLDER).mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{describe(folder / FOLDER)}: cannot be made ({error.strerror}); check the folder"
        ) from error
    yield
