"""Streams: work on long inputs in bounded memory, results in the inputs' order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

import cv2

T = TypeVar("T")
R = TypeVar("R")


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


@contextmanager
def worker_pool(workers: int, threads: int | None) -> Iterator[Executor]:
    """Threads for as long as the context lasts; what hasn't started by then is cancelled.

    Args:
        workers: how many, >= 1.
        threads: of cv2, set for the whole process; None leaves its own number.
    """
    if threads is not None:
        cv2.setNumThreads(threads)
    pool = ThreadPoolExecutor(workers, thread_name_prefix="segmenter")
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
