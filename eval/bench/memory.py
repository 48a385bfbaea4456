"""Peak memory, of work that has a process of its own."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


_largest = 0.0
"""MiB: Linux counts pages by processor and sums them up loosely, so that its mark may fall by some 100 KiB."""


def peak_mib() -> float:
    """The most memory that this process ever had resident, in MiB; it never goes down."""
    global _largest
    _largest = max(_largest, _mark_mib())
    return _largest


def _mark_mib() -> float:
    with suppress(OSError, StopIteration):  # Linux: getrusage would count what the parent had when it started this one
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) / 2**10
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def in_child(function: Callable[P, R], *args: P.args, **options: P.kwargs) -> R:
    """What a function of a module's top level gives in a fresh process; its exceptions are raised here."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *args, **options).result()
