"""How long a command takes to say its help, beside a Python that does nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from eval.bench.findings import LATER, Finding, Target, find
from eval.bench.setting import Setting
from eval.bench.timing import side_by_side

NOTHING, HELP = "python -c pass", "fewshot-seg --help"
TARGET: Final = Target(LATER, 0.25)


def compare_start(setting: Setting, folder: Path) -> list[Finding]:
    """A new process of each."""
    commands = {NOTHING: ["-c", "pass"], HELP: ["-m", "fewshot_seg", "--help"]}
    variants = {name: _starting(arguments) for name, arguments in commands.items()}
    nothing, help_ = side_by_side(variants, 1, max(setting.rounds, 5), setting.track)
    return [find(HELP, NOTHING, "1 start", (nothing, help_), TARGET)]


def _starting(arguments: list[str]) -> Callable[[], object]:
    return lambda: subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
