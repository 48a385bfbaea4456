"""Pipes where files are expected: named at once, never waited for, and the others are done."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import skimage.data
from PIL import Image

from fewshot_seg.files import regular

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


def run(package: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """A command in a child, which is given half a minute."""
    command = [sys.executable, "-m", package, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


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
    done = run("fewshot_seg", "index", "build", tmp_path / "ix", photos)
    assert "not a regular file" in done.stderr
    assert "1 image" in done.stdout + done.stderr
    assert done.returncode == 1


@pytest.mark.parametrize(
    ("package", "arguments"),
    [
        ("fewshot_seg", ("index", "build", "OUT", "--list", "PIPE")),
        ("fewshot_seg", ("index", "build", "OUT", "--csv", "PIPE")),
        ("fewshot_seg", ("search", "PIPE", "PIPE")),
        ("fewshot_seg", ("explain", "PIPE", "PIPE", "--out", "OUT")),
        ("train_embed", ("run", "--config", "PIPE", "--out", "OUT")),
        ("eval", ("segment", "--root", "OUT", "--split-list", "PIPE", "--out", "OUT")),
    ],
)
def test_a_pipe_in_place_of_any_file_is_refused_in_one_line(
    package: str, arguments: tuple[str, ...], pipe: Path, tmp_path: Path
) -> None:
    named = {"PIPE": pipe, "OUT": tmp_path / "out"}
    done = run(package, *(named.get(one, one) for one in arguments))
    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stderr
