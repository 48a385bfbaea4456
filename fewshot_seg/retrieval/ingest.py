"""Which images have to go through the network, and an index that then has them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fewshot_seg.errors import ConfigError, DataError, ImageError
from fewshot_seg.network.embedding import Embedder
from fewshot_seg.retrieval.contents import Contents
from fewshot_seg.retrieval.encoding import Job, encode
from fewshot_seg.retrieval.roots import identity_key
from fewshot_seg.retrieval.rows import Row, stamp_of
from fewshot_seg.retrieval.sources import Failure, Item
from fewshot_seg.retrieval.store import Store

Track = Callable[[Iterable[Any], int, str], Iterator[Any]]
"""Passes items on and shows progress: (items, total, what is done with them)."""

_MOST_WORKERS = 8


@dataclass(frozen=True)
class Options:
    """How images are read and embedded.

    Attributes:
        workers: threads that read; None means the machine's processors, but at most 8.
        batch_size: images in the network at a time.
        progress: shows it; None shows nothing.

    Raises:
        ConfigError: a number below 1.
    """

    workers: int | None = None
    batch_size: int = 16
    progress: Track | None = None

    def __post_init__(self) -> None:
        if not all(type(count) is int and count >= 1 for count in (self.batch_size, self.threads)):
            raise ConfigError(
                f"batch_size {self.batch_size} and workers {self.workers} must be whole numbers, at least 1"
            )

    @property
    def threads(self) -> int:
        """How many threads read."""
        return min(os.cpu_count() or 1, _MOST_WORKERS) if self.workers is None else self.workers

    def track(self, items: Iterable[Any], total: int, what: str) -> Iterator[Any]:
        """The items, shown as they pass."""
        return iter(items) if self.progress is None else self.progress(items, total, what)


@dataclass(frozen=True)
class Changes:
    """What an operation did to an index.

    Attributes:
        added, replaced, removed, unchanged: numbers of images. Replaced are those whose file or columns changed.
        failures: inputs that were left out, and why.
    """

    added: int = 0
    replaced: int = 0
    removed: int = 0
    unchanged: int = 0
    failures: tuple[Failure, ...] = ()


def known_rows(contents: Contents) -> dict[str, tuple[int, Row]]:
    """Every image of the index by `identity_key` of its file: its number and row."""
    return {identity_key(contents.locate(row)): (number, row) for number, row in enumerate(contents.rows())}


def refuse_others(contents: Contents, items: Iterable[Item]) -> None:
    """Check that an index holds no images but these: then building it is going on with it.

    Raises:
        ConfigError: it does.
    """
    others = known_rows(contents).keys() - {identity_key(item.location) for item in items}
    if others:
        what = f"holds an index already, with {len(others)} other images"
        raise ConfigError(f"{contents.name}: {what}; add to it, or choose a new folder")


def column_names(known: Sequence[str], items: Iterable[Item]) -> tuple[str, ...]:
    """An index's columns and those of new images, in order of their first appearance."""
    return tuple(dict.fromkeys((*known, *(name for item in items for name in item.columns))))


def ingest(
    contents: Contents,
    items: Sequence[Item],
    embedder: Callable[[], Embedder],
    options: Options,
    dropped: Iterable[int] = (),
    **changes: Any,
) -> tuple[Contents, Changes]:
    """Bring images into the index: those that it has, unchanged, are left; the others' vectors are made.

    An interruption leaves the index as it was; vectors that were made by then wait in its folder for the next time.

    Args:
        contents: the index.
        items: the images.
        embedder: gives the embedder; called only if an image has to go through the network.
        options: how.
        dropped: numbers of rows that go.
        changes: other attributes of its config.

    Returns:
        What the index holds now, and what was done.

    Raises:
        OutputError: a file cannot be written.
    """
    plan = _Plan(contents, items)
    store = Store(contents)
    failures: list[Failure] = list(plan.failures)
    replaced = list(plan.replaced)
    added = plan.found_pending - len(replaced)
    jobs = plan.jobs
    if jobs:
        encoded = encode(jobs, embedder(), options.threads, options.batch_size)
        try:
            for one in options.track(encoded, len(jobs), "indexing"):
                if isinstance(one, Failure):
                    failures.append(one)
                    continue
                store.append(one.row, one.vector)
                if one.job.replaces is None:
                    added += 1
                else:
                    replaced.append(one.job.replaces)
        except BaseException:
            store.flush()  # Ctrl-C, too: what is finished is kept
            raise
    if not contents.config.complete and failures and added == 0:
        examples = "; ".join(failure.error for failure in failures[:3])
        raise DataError(f"none of the {len(failures)} images can be read: {examples}")
    dropped = set(dropped)
    gone = {int(contents.slots[number]) for number in (*dropped, *replaced)} | plan.unwanted
    done = store.commit(gone, count=True, **changes)
    return done, Changes(added, len(replaced), len(dropped), plan.unchanged, tuple(failures))


class _Plan:
    """What has to be done for each item, by what is known of its file."""

    def __init__(self, contents: Contents, items: Sequence[Item]) -> None:
        self.jobs: list[Job] = []
        self.failures: list[Failure] = []
        self.replaced: list[int] = []  # rows that pending ones take the place of
        self.unchanged = 0
        self.found_pending = 0
        self._contents = contents
        self._known = known_rows(contents) if len(contents.vectors) else {}
        self._pending = {identity_key(contents.locate(row)): (slot, row) for slot, row in contents.pending()}
        self.unwanted = set(range(contents.config.counted, contents.config.end))  # slots of pending rows that go
        for item in items:
            self._look_at(item)

    def _look_at(self, item: Item) -> None:
        try:
            stamp = stamp_of(item.location)
        except ImageError as error:
            self.failures.append(Failure(item.path, str(error)))
            return
        key = identity_key(item.location)
        number, row = self._known.get(key, (None, None))
        if row is not None and row.stamp == stamp and (not item.columns or row.columns == item.columns):
            self.unchanged += 1
        elif key in self._pending and _is_of(self._pending[key][1], item, stamp):
            self.unwanted.discard(self._pending[key][0])
            self.found_pending += 1
            self.replaced += [] if number is None else [number]
        elif number is None or row is None:
            self.jobs.append(Job(item))
        else:
            columns = item.columns or row.columns
            vector = self._contents.vectors[number]
            self.jobs.append(Job(replace(item, columns=columns), row.digest, vector, number))


def _is_of(row: Row, item: Item, stamp: tuple[int, int]) -> bool:
    return (row.stamp, row.path, row.root) == (stamp, item.path, item.root) and row.columns == item.columns
