"""Streams: work on long inputs in bounded memory, results in the inputs' order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from threading import Thread
from typing import Any, TypeVar

import cv2
import torch

T = TypeVar("T")
R = TypeVar("R")
S = TypeVar("S")

Track = Callable[[Iterable[Any], int, str], Iterator[Any]]
"""Passes items on and shows progress: (items, total, what is done with them)."""


def _after_fork() -> None:
    """A forked child has torch's thread pool without its threads: whoever asks it for work would wait for ever."""
    torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def untracked(items: Iterable[Any], total: int, what: str) -> Iterator[Any]:
    """A `Track` that shows nothing."""
    return iter(items)


def ordered_map(pool: Executor, function: Callable[[T], R], items: Iterable[T], ahead: int) -> Iterator[R]:
    """`function` of each item, in the items' order, computed in `pool` at most `ahead` items before it is asked for.

    Items are drawn lazily, in the caller's thread. An exception of `function` is raised in its item's turn.
    When the iterator is closed early, what hasn't started is cancelled.

    Args:
        pool: runs the calls.
        function: of one item.
        items: of any length.
        ahead: how many results may be under way or waiting, >= 1.

    Yields:
        The results.
    """
    pending: deque[Future[R]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) >= ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()


def in_batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Consecutive lists of `size` items; the last may be shorter."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def read_then(
    pool: Executor,
    read: Callable[[T], S],
    work: Callable[[list[S]], list[R]],
    items: Iterable[T],
    *,
    batch_size: int,
    workers: int,
    alone: bool,
) -> Iterator[R]:
    """`work` of what `read` makes of each item, in order; few items are under way at a time.

    Args:
        pool: of `workers` threads.
        read: one item, in the pool.
        work: a batch.
        items: of any length, drawn lazily.
        batch_size: of `work`.
        workers: see `pool`.
        alone: `work` gets one at a time, in the pool as well: on a CPU several images at once keep its processors
            busier than a batch that they share. Otherwise it gets batches, in the caller's thread: a GPU is one.
    """
    if alone:
        yield from ordered_map(pool, lambda item: work([read(item)])[0], items, 2 * workers)
        return
    for batch in in_batches(ordered_map(pool, read, items, max(batch_size, workers)), batch_size):
        yield from work(batch)


@contextmanager
def worker_pool(workers: int, threads: int | None = None) -> Iterator[Executor]:
    """Threads for as long as the context lasts; what hasn't started by then is cancelled.

    In each of them torch works with one thread: several images at a time keep the processors busier than one that
    they share, and results don't hang on how many there are. The caller's own number stays what it is.

    Args:
        workers: how many, >= 1.
        threads: of cv2, set for the whole process; None leaves its own number.
    """
    if threads is not None:
        cv2.setNumThreads(threads)
    pool = ThreadPoolExecutor(workers, "segmenter", initializer=_one_torch_thread, initargs=(torch.get_num_threads(),))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _one_torch_thread(others: int) -> None:
    """One thread inside torch for the thread that calls this, `others` for threads that are yet to come.

    torch keeps two numbers: each thread's own, and the one that a new thread starts with, which setting one's own
    sets too. The former is made before it is set, or the first parallel step would make it anew.
    """
    torch.get_num_threads()
    torch.set_num_threads(1)
    restoring = Thread(target=torch.set_num_threads, args=(others,))
    restoring.start()
    restoring.join()
