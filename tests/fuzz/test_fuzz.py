"""A sample of `make fuzz`: a thousand spoilt files, the same in every run."""

from __future__ import annotations

import subprocess
import sys

from tests.conftest import ROOT


def test_spoilt_files_end_in_a_line_and_touch_nothing_else() -> None:
    line = [sys.executable, "-m", "tests.fuzz.fuzz", "--cases", "1000"]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert "1000 cases, 0 failed" in done.stdout
