"""The machine that figures were measured on."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path
from typing import Any

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
