"""Images into an index: which have to go through the network, their vectors, and an index that then has them.

Files are read and decoded in threads, where a CPU's network works too, in bounded memory, in order.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fewshot_seg.errors import ConfigError, DataError, FewShotError, ImageError, describe
from fewshot_seg.imaging.decode import read_image
from fewshot_seg.imaging.images import DRAFT_MARGIN, Preprocessing, preprocess
from fewshot_seg.network.embedding import Embedder
from fewshot_seg.retrieval.contents import Contents
from fewshot_seg.retrieval.rows import Row, content_digest, identity_key, stamp_of
from fewshot_seg.retrieval.sources import Failure, Found, Item
from fewshot_seg.retrieval.store import Store
from fewshot_seg.streams import Track, read_then, worker_pool

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


def refuse_others(contents: Contents, items: Iterable[Item]) -> None:
    """ConfigError where an index holds images other than these: building it is then no going on with it."""
    others = contents.by_file().keys() - {identity_key(item.location) for item in items}
    if others:
        what = f"holds an index already, with {len(others)} other images"
        raise ConfigError(f"{contents.name}: {what}; add to it, or choose a new folder")


def ingest(
    contents: Contents,
    found: Found,
    embedder: Callable[[], Embedder],
    options: Options,
    dropped: Iterable[int] = (),
    **changes: Any,
) -> tuple[Contents, Changes]:
    """Bring images into the index: those that it has, unchanged, are left; the others' vectors are made.

    An interruption leaves the index as it was; vectors that were made by then wait in its folder for the next time.

    Args:
        contents: the index.
        found: the images, and whence.
        embedder: gives the embedder; called only if an image has to go through the network.
        options: how.
        dropped: numbers of rows that go.
        changes: other attributes of its config.

    Returns:
        What the index holds now, and what was done.

    Raises:
        DataError: a first build, and no image can be read. OutputError: a file cannot be written.
    """
    plan = _Plan(contents, found.items)
    store = Store(contents, roots=changes.get("roots", contents.config.roots))
    failures, replaced = plan.failures, plan.replaced
    added = plan.found_pending - len(replaced)
    if plan.jobs:
        encoded = _encoded(plan.jobs, embedder(), options)
        try:
            for one in options.track(encoded, len(plan.jobs), "indexing"):
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
    config = contents.config
    if not config.complete and failures and added == 0:
        examples = "; ".join(failure.error for failure in failures[:3])
        raise DataError(f"none of the {len(failures)} images can be read: {examples}")
    dropped = set(dropped)
    given = {(item.path, item.root) for item in found.items}
    done = store.commit(
        {int(contents.slots[number]) for number in (*dropped, *replaced)} | plan.unwanted,
        count=True,
        sources=tuple(dict.fromkeys((*config.sources, *found.sources))),
        columns=tuple(dict.fromkeys((*config.columns, *(name for item in found.items for name in item.columns)))),
        excluded=tuple(one for one in config.excluded if one not in given),
        **changes,
    )
    return done, Changes(added, len(replaced), len(dropped), plan.unchanged, (*found.failures, *failures))


@dataclass(frozen=True, eq=False)
class _Job:
    """An image that may have to go through the network: not if its content still is that of a known vector (D,)."""

    item: Item
    digest: str | None = None
    vector: NDArray[np.float32] | None = None
    replaces: int | None = None  # number of the row that it takes the place of


class _Plan:
    """What has to be done for each item, by what is known of its file."""

    def __init__(self, contents: Contents, items: Iterable[Item]) -> None:
        self.jobs: list[_Job] = []
        self.failures: list[Failure] = []
        self.replaced: list[int] = []  # rows that pending ones take the place of
        self.unchanged = 0
        self.found_pending = 0
        self._contents = contents
        self._known = contents.by_file() if len(contents.vectors) else {}
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
        slot, waiting = self._pending.get(key, (-1, None))
        if row is not None and row.stamp == stamp and (not item.columns or row.columns == item.columns):
            self.unchanged += 1
        elif waiting is not None and waiting == Row(item.path, item.root, stamp, waiting.digest, item.columns):
            self.unwanted.discard(slot)
            self.found_pending += 1
            self.replaced += [] if number is None else [number]
        elif number is None or row is None:
            self.jobs.append(_Job(item))
        else:
            columns = item.columns or row.columns
            self.jobs.append(_Job(replace(item, columns=columns), row.digest, self._contents.vectors[number], number))


class _Read(NamedTuple):
    job: _Job
    row: Row
    image: Tensor | NDArray[np.float32]  # (3,size,size) for the network; or the vector (D,) that is known


class _Encoded(NamedTuple):
    job: _Job
    row: Row
    vector: NDArray[np.float32]  # (D,) of unit norm


def _encoded(jobs: Iterable[_Job], embedder: Embedder, options: Options) -> Iterator[_Encoded | Failure]:
    """Each job's row and vector, in order; a file that cannot be read gives a `Failure` in its place."""
    alone = embedder.device.type == "cpu"
    read, work = partial(_read, embedder.preprocessing), partial(_encode, embedder)
    with worker_pool(options.threads) as pool:
        yield from read_then(
            pool, read, work, jobs, batch_size=options.batch_size, workers=options.threads, alone=alone
        )


def _read(preprocessing: Preprocessing, job: _Job) -> _Read | Failure:
    item = job.item
    try:
        stamp = stamp_of(item.location)  # before reading: a later change is noticed by the next update
        row = Row(item.path, item.root, stamp, content_digest(item.location), item.columns)
        if job.vector is not None and row.digest == job.digest:
            return _Read(job, row, job.vector)
        image = read_image(item.location, min_side=DRAFT_MARGIN * max(preprocessing.shape))
        return _Read(job, row, preprocess(image, preprocessing))
    except FewShotError as error:
        return Failure(item.path, str(error))


@torch.inference_mode()
def _encode(embedder: Embedder, batch: list[_Read | Failure]) -> list[_Encoded | Failure]:
    images = [one.image for one in batch if isinstance(one, _Read) and isinstance(one.image, Tensor)]
    made: Iterator[NDArray[np.float32]] = iter(())
    if images:
        made = iter(embedder(torch.stack(images).to(embedder.device)).vector.float().cpu().numpy())  # (b,D)
    results: list[_Encoded | Failure] = []
    for one in batch:
        if isinstance(one, Failure):
            results.append(one)
            continue
        vector = next(made) if isinstance(one.image, Tensor) else one.image
        if np.isfinite(vector).all():
            results.append(_Encoded(one.job, one.row, vector))
        else:
            what = f"gets a vector that is not finite from {embedder.source or 'the embedder'}; check its weights"
            results.append(Failure(one.row.path, f"{describe(one.row.path)}: {what}"))
    return results
