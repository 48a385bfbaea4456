"""`fewshot-seg segment`: what stops it, and what is left then."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.fewshot_seg.command_line import error_line, fewshot, names_in, results_of
from tests.fewshot_seg.image_files import write_bad_images
from tests.fewshot_seg.imaging.test_export import largest_file


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--support", "cat={photos}/nowhere.png"], "nowhere.png"),
        (["--support", "cat={bad}/text.jpg"], "text.jpg"),
        (["--support", "cat={bad}/empty.jpg"], "empty.jpg"),
        (["--support", "={photos}/cat.png"], "empty"),
        (["--support", "cat={photos}/cat.png", "--support", "dog={photos}/cat.png"], "'cat' and for 'dog'"),
        (["--support", "cat={photos}/cat.png", "--support", "Cat={photos}/cup.jpg"], "twice"),
        (
            ["--support", "cat={photos}/cat.png", "--support-mask", "cat={photos}/small-mask.png"],
            "small-mask.png",
        ),
        (
            ["--support", "cat={photos}/cat.png", "--support-mask", "cat={photos}/empty-mask.png"],
            "empty-mask.png",
        ),
        (["--support", "cat={photos}/cat.png", "--support-mask", "cat={bad}/text.jpg"], "text.jpg"),
        (
            ["--support", "cat={photos}/cat.png", "--support-mask", "cta={photos}/mask.png"],
            "did you mean 'cat'",
        ),
        (["--support", "cat={photos}/cat.png", "--support-box", "cat=9000,9000,5,5"], "outside"),
        (["--support", "cat={photos}/cat.png", "--weights", "{bad}/text.jpg"], "text.jpg"),
        (["--support", "cat={photos}/cat.png", "--weights", "defualt"], "default"),
        (["--support", "cat={photos}/cat.png", "--device", "abacus"], "abacus"),
        (["--support", "cat={photos}/cat.png", "--seed", "99999999999"], "seed"),
    ],
)
def test_what_stops_the_run_is_one_line(photos, tmp_path, options, message):
    write_bad_images(tmp_path / "bad")
    filled = [option.format(photos=photos, bad=tmp_path / "bad") for option in options]
    result = fewshot("segment", photos / "cup.jpg", *filled, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert message in error_line(result)


@pytest.mark.parametrize("out", ["file", "file/deeper", "/proc/fewshot-seg"])
def test_an_output_folder_that_cannot_be(photos, tmp_path, out):
    (tmp_path / "file").write_bytes(b"")
    for arguments in (
        ("segment", photos / "cup.jpg", "-s", photos / "cat.png"),
        ("explain", photos / "cup.jpg", photos / "cat.png"),
        ("demo",),
    ):
        assert "cannot write" in error_line(fewshot(*arguments, "--out", tmp_path / out))


def test_an_output_that_would_overwrite_an_input(photos, tmp_path):
    shutil.copy(photos / "cat.png", tmp_path / "cat.png")
    shutil.copy(photos / "mask.png", tmp_path / "cat_mask.png")
    before = (tmp_path / "cat_mask.png").read_bytes()
    mask = ("--support-mask", f"cat={tmp_path / 'cat_mask.png'}")
    result = fewshot("segment", tmp_path / "cat.png", "-s", f"cat={tmp_path / 'cat.png'}", *mask, "-o", tmp_path)
    assert "would overwrite" in error_line(result)
    assert (tmp_path / "cat_mask.png").read_bytes() == before


def test_a_disk_that_fills_up_keeps_what_is_finished(photos, tmp_path, rng):
    Image.fromarray(rng.integers(0, 256, (700, 700, 3), dtype=np.uint8)).save(tmp_path / "noise.png")
    queries = (photos / "cat face.png", tmp_path / "noise.png", photos / "cat.png")
    out = tmp_path / "out"
    with largest_file(120_000):
        result = fewshot("segment", *queries, "-s", photos / "cat.png", "-o", out, "--refine", "none")
    assert result.exit_code == 1
    assert "noise_" in error_line(result)
    assert [Path(entry["path"]).name for entry in results_of(out)["images"]] == ["cat face.png"]
    assert not [name for name in names_in(out) if name.startswith(".")]
    for entry in results_of(out)["images"]:
        for name in (entry["mask"], entry["overlay"]):
            with Image.open(out / name) as image:
                image.load()


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
@pytest.mark.parametrize("how", ["SIGINT", "SIGTERM"])
def test_ctrl_c_keeps_what_is_finished(photos, tmp_path, how):
    (tmp_path / "in").mkdir()
    for number in range(60):
        shutil.copy(photos / "cat.png", tmp_path / "in" / f"{number}.png")
    out = tmp_path / "out"
    command = [
        sys.executable,
        "-m",
        "fewshot_seg.cli",
        "segment",
        tmp_path / "in",
        "-s",
        photos / "cat.png",
        "-o",
        out,
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        end = time.monotonic() + 120  # a busy machine takes its time to start
        while not (out / "1_mask.png").exists() and process.poll() is None and time.monotonic() < end:
            time.sleep(0.02)
        process.send_signal(getattr(signal, how))
        _, stderr = process.communicate(timeout=120)
    assert process.returncode == 130, stderr
    entries = results_of(out)["images"]
    assert 1 <= len(entries) < 60
    assert all((out / entry["mask"]).exists() for entry in entries)
    assert re.search(rf"^fewshot-seg: interrupted: {len(entries)} of 60 images are done and kept", stderr, re.M)
    assert "Traceback" not in stderr
    assert not [name for name in names_in(out) if name.startswith(".")]


def test_a_loop_of_links_is_one_unreadable_query(photos, tmp_path):
    (tmp_path / "loop.png").symlink_to("loop.png")
    shutil.copy(photos / "cat.png", tmp_path / "cat.png")
    support = f"cat={photos / 'cat.png'}"
    for number, query in enumerate((tmp_path, tmp_path / "loop.png")):
        out = tmp_path / "out" / str(number)
        assert fewshot("segment", query, "-s", support, "-o", out, "--refine", "none").exit_code == 1
        assert [Path(entry["path"]).name for entry in results_of(out)["images"] if entry["error"]] == ["loop.png"]
    refused = fewshot("segment", photos / "cat.png", "-s", tmp_path / "loop.png", "-o", tmp_path / "out")
    assert "loop.png" in error_line(refused)


def test_a_file_that_is_no_result_is_not_overwritten(tmp_path, photos):
    mine = tmp_path / "cup_mask.png"
    mine.write_bytes((photos / "mask.png").read_bytes())
    before = mine.read_bytes()
    result = fewshot("segment", photos / "cup.jpg", "-s", photos / "cat.png", "--quality", "fast", "-o", tmp_path)
    assert result.exit_code == 1
    assert f"{mine} is there" in error_line(result)
    assert mine.read_bytes() == before


def test_masks_of_an_earlier_run_are_replaced_whatever_it_listed(tmp_path, photos):
    queries = (photos / "cup.jpg", "-s", photos / "cat.png", "--quality", "fast", "-o", tmp_path)
    assert fewshot("segment", *queries).exit_code == 0
    (tmp_path / "results.json").unlink()  # as after a kill
    assert fewshot("segment", *queries).exit_code == 0


def test_an_example_is_not_its_own_counterexample(tmp_path, photos):
    cat = photos / "cat.png"
    result = fewshot("segment", photos / "cup.jpg", "-s", cat, "--not", cat, "-o", tmp_path)
    assert result.exit_code == 1
    assert "given as an example and by --not" in error_line(result)
