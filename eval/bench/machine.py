"""The machine that figures were measured on."""

from __future__ import annotations

import multiprocessing
import os
import platform
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from eval.runs.provenance import libraries


def describe_machine() -> dict[str, Any]:
    """Processor, memory, GPUs (where torch is loaded and sees any), system, libraries, load: JSON values."""
    return {
        "processor": _processor(),
        "processors": _usable(),
        "memory_gib": _memory(),
        "gpus": _gpus(),
        "system": platform.platform(terse=True),
        "libraries": libraries(),
        "load": _load(),
    }


def _processor() -> str:
    """Its name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def _usable() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _memory() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, OSError, ValueError):
        return None


def _gpus() -> list[str]:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return []
    return [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]


def _load() -> float | None:
    """Processes that wanted a processor in the last minute: what else ran."""
    try:
        return round(os.getloadavg()[0], 2)
    except (AttributeError, OSError):
        return None


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
