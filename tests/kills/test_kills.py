"""A sample of `make kill-test`: twenty kills, in the same order in every run."""

from __future__ import annotations

import subprocess
import sys

from tests.conftest import ROOT


def test_what_is_killed_goes_on_and_ends_the_same() -> None:
    line = [sys.executable, "-m", "tests.kills.kills", "--kills", "20"]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert "20 kills, 0 failed" in done.stdout
