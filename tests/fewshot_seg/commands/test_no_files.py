"""Pipes where files are expected: named at once, never waited for, and the others are done."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import skimage.data
import typer
from PIL import Image
from typer.testing import CliRunner

import eval.cli
import fewshot_seg.cli
import train_embed.cli
from fewshot_seg.files import regular

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


@contextmanager
def at_most(seconds: int) -> Iterator[None]:
    """What waits for a pipe is interrupted."""

    def too_long(number: int, frame: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def test_a_pipe_and_a_device_are_no_files(pipe: Path, tmp_path: Path) -> None:
    (link := tmp_path / "link").symlink_to("/dev/zero")
    for path in (pipe, link):
        with pytest.raises(OSError, match="not a regular file"):
            regular(path)
    with pytest.raises(FileNotFoundError):
        regular(tmp_path / "nothing")
    (tmp_path / "file").write_bytes(b"x")
    assert regular(tmp_path / "file") == tmp_path / "file"


def test_an_index_is_built_of_the_images_beside_a_pipe(pipe: Path, tmp_path: Path) -> None:
    (photos := tmp_path / "photos").mkdir()
    Image.fromarray(skimage.data.chelsea()).save(photos / "cat.png")
    os.mkfifo(photos / "pipe.jpg")
    command = [sys.executable, "-m", "fewshot_seg", "index", "build", str(tmp_path / "ix"), str(photos)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)  # threads read there
    assert "not a regular file" in done.stderr
    assert "1 image" in done.stdout + done.stderr
    assert done.returncode == 1


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        (fewshot_seg.cli.app, ("index", "build", "OUT", "--list", "PIPE")),
        (fewshot_seg.cli.app, ("index", "build", "OUT", "--csv", "PIPE")),
        (fewshot_seg.cli.app, ("search", "PIPE", "PIPE")),
        (fewshot_seg.cli.app, ("explain", "PIPE", "PIPE", "--out", "OUT")),
        (train_embed.cli.app, ("run", "--config", "PIPE", "--out", "OUT")),
        (eval.cli.app, ("segment", "--root", "OUT", "--split-list", "PIPE", "--out", "OUT")),
    ],
)
def test_a_pipe_in_place_of_any_file_is_refused_in_one_line(
    command: typer.Typer, arguments: tuple[str, ...], pipe: Path, tmp_path: Path
) -> None:
    named = {"PIPE": str(pipe), "OUT": str(tmp_path / "out")}
    with at_most(30):
        done = CliRunner().invoke(command, [named.get(one, one) for one in arguments])
    assert isinstance(done.exception, SystemExit), done.exception
    assert done.exit_code in (1, 2)
    assert len(done.stderr.splitlines()) == 1
