"""Freed memory comes back without the system."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from train_embed.run.memory import keep_freed_memory

FAULTS = """
import resource, sys, torch
from train_embed.run.memory import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
def step():
    torch.ones(2**24)
step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(how: str) -> int:
    return int(subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True).stdout)


def test_large_blocks_are_mapped_less_often() -> None:
    if platform.libc_ver()[0] != "glibc":
        assert not keep_freed_memory()
        return
    assert page_faults("keep") < page_faults("default") / 2


@pytest.mark.parametrize("times", [1, 3])
def test_it_may_be_said_again(times: int) -> None:
    script = f"from train_embed.run.memory import keep_freed_memory as k; print({{k() for _ in range({times})}})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str({platform.libc_ver()[0] == "glibc"})
