"""The three installed commands start, tell their version, and refuse nonsense in one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import fewshot_seg as fs

COMMANDS = ("fewshot-seg", "train-embed", "fewshot-eval")


def run(command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The installed script that stands beside this Python."""
    script = Path(sys.executable).parent / command
    assert script.is_file(), f"{command} is not installed: pip install -e '.[dev]'"
    return subprocess.run([script, *arguments], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("command", COMMANDS)
def test_version(command: str) -> None:
    done = run(command, "--version")
    assert (done.returncode, done.stdout.strip()) == (0, f"{command} {fs.__version__}")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_names_the_command(command: str) -> None:
    done = run(command, "--help")
    assert done.returncode == 0, done.stderr
    assert f"{command} [OPTIONS] COMMAND" in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_subcommand_is_one_line_and_a_non_zero_exit(command: str) -> None:
    done = run(command, "frobnicate")
    assert done.returncode == 2
    assert "frobnicate" in done.stderr
    assert "Traceback" not in done.stderr
