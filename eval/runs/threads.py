"""Threads inside torch and OpenCV, out of the way of threads of our own.

How many of them share a convolution decides in which order its sums are taken, and so their last bits. With one,
results are the same however many workers and processes there are; the processors are kept busy by those.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def single_threaded() -> Iterator[Callable[[], None]]:
    """One thread inside torch and OpenCV for the block, where they have been imported before it.

    Yields:
        What any other thread that uses them has to call first: OpenMP's number is each thread's own.
    """
    torch, cv2 = sys.modules.get("torch"), sys.modules.get("cv2")
    before = torch and torch.get_num_threads(), cv2 and cv2.getNumThreads()

    def one_thread() -> None:
        if torch is not None:
            torch.set_num_threads(1)

    one_thread()
    if cv2 is not None:
        cv2.setNumThreads(1)
    try:
        yield one_thread
    finally:
        if torch is not None:
            torch.set_num_threads(before[0])
        if cv2 is not None:
            cv2.setNumThreads(before[1])
