"""The command line as a script meets it: help, version, usage, models."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

import fewshot_seg
from fewshot_seg.commands.console import tracked
from tests.fewshot_seg.command_line import error_line, fewshot

COMMANDS = ("demo", "segment", "explain", "models")


def test_help_needs_no_torch():
    code = (
        "import sys; sys.argv = ['fewshot-seg', '--help']\n"
        "from fewshot_seg.cli import main\n"
        "try: main()\n"
        "except SystemExit as stop: assert not stop.code\n"
        "print(sorted({'torch', 'cv2', 'timm', 'skimage', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command):
    result = fewshot(command, "--help")
    assert result.exit_code == 0
    assert f"fewshot-seg {command}" in result.stdout.split("Examples")[1]


def test_help_lists_the_commands():
    for result in (fewshot("--help"), fewshot("-h"), fewshot()):
        assert result.exit_code == 0
        assert all(command in result.stdout for command in COMMANDS)


def test_python_m_is_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "fewshot_seg", "--version"], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, f"fewshot-seg {fewshot_seg.__version__}\n")


def test_a_closed_stderr_only_takes_the_progress_away(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    assert list(tracked(range(3), 3, "working")) == [0, 1, 2]


def test_version():
    assert fewshot("--version").stdout == f"fewshot-seg {fewshot_seg.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["segment", "a.png", "--out", "x"], "--support"),
        (["segment", "a.png", "--support", "a.png"], "--out"),
        (["segment", "--support", "a.png", "--out", "x"], "QUERY"),
        (["segment", "a.png", "--suport", "a.png"], "--support"),
        (["segment", "a.png", "--support", "a.png", "--out", "x", "--threads", "0"], "threads"),
        (["segment", "a.png", "--support", "a.png", "--out", "x", "--threads", "100000"], "threads"),
        (["segment", "a.png", "--support", "a.png", "--out", "x", "--precision", "fp8"], "fp8"),
        (["segmet"], "segment"),
        (["explain", "--out", "x"], "A B"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(arguments, message):
    result = fewshot(*arguments)
    assert result.exit_code == 2
    assert message in error_line(result)


def test_models():
    result = fewshot("models")
    assert result.exit_code == 0
    assert re.search(r"default\s+\S*efficientnet_lite2\s+yes", result.stdout)
    assert re.search(r"paper\s+\S*resnet50", result.stdout)
