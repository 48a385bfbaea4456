"""What the machine has no room for is one line: memory, a disk, standard output."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from eval.runs.folder import append_lines, read_lines
from fewshot_seg.commands.entry import make_app
from fewshot_seg.errors import OutputError


@contextmanager
def small_disk(size: int) -> Iterator[None]:
    """Files can't grow beyond so many bytes, as if the disk were full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("kind", ["torch", "numpy", "cv2", "disk"])
def test_no_room_is_one_line(tmp_path: Path, kind: str) -> None:
    app = make_app("fewshot-seg", "For a test.")

    @app.command()
    def work() -> None:
        if kind == "torch":
            torch.empty(2**50)
        elif kind == "numpy":
            np.ones(2**50)
        elif kind == "cv2":
            cv2.resize(np.zeros((9, 9, 3), np.float64), (2**15, 2**30 // 2**15 * 1000))
        else:
            with small_disk(1000), (tmp_path / "file").open("wb", buffering=0) as file:
                file.write(b"0" * 1000)
                file.write(b"0" * 1000)

    done = CliRunner().invoke(app, ["work"])
    assert done.exit_code == 1
    assert isinstance(done.exception, SystemExit)
    (line,) = done.stderr.splitlines()
    assert ("File too large" if kind == "disk" else "not enough memory") in line


def test_a_disk_that_fills_up_under_a_growing_file(tmp_path: Path) -> None:
    """The lines that went in stay, and a later start goes on from there."""
    path = tmp_path / "predictions.jsonl"
    with small_disk(300), pytest.raises(OutputError, match=r"predictions\.jsonl: File too large; check the folder"):
        for _ in append_lines(path, ({"index": n, "text": "x" * 50} for n in range(10))):
            pass
    done = read_lines(path)
    assert [line["index"] for line in done] == [0, 1, 2, 3]
    for _ in append_lines(path, [{"index": 4}]):
        pass
    assert [line["index"] for line in read_lines(path)] == [0, 1, 2, 3, 4]


def test_standard_output_that_is_full_or_closed() -> None:
    line = [sys.executable, "-c", "from fewshot_seg.cli import main; main()", "models"]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(line, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert "No space left on device" in done.stderr
    done = subprocess.run(["/bin/sh", "-c", '"$@" >&-', "sh", *line], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
