"""The command line as a script meets it: files, exit status, stdout and stderr."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
from PIL import Image
from typer.testing import CliRunner, Result

import fewshot_seg
from fewshot_seg.cli import app
from fewshot_seg.export import decode_rle
from tests.fewshot_seg.image_files import picture, write_bad_images, write_good_images
from tests.fewshot_seg.test_export import largest_file

COMMANDS = ("demo", "segment", "explain", "models")


def fewshot(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def error_line(result: Result) -> str:
    """The one line on stderr of a command that failed, without a traceback."""
    assert result.exit_code not in (0, None)
    assert isinstance(result.exception, SystemExit), result.exception
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("fewshot-seg: error: ")
    return lines[0]


def results_of(out: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((out / "results.json").read_text("utf-8"))
    return content


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real photographs: a cat, a piece of it, a cup, and a mask of the cat's size."""
    folder = tmp_path_factory.mktemp("photos")
    cat = skimage.data.chelsea()
    Image.fromarray(cat).save(folder / "cat.png")
    Image.fromarray(cat[:250, 30:380]).save(folder / "cat face.png")
    Image.fromarray(skimage.data.coffee()).save(folder / "cup.jpg")
    mask = np.zeros(cat.shape[:2], np.uint8)
    mask[20:280, 20:360] = 255
    Image.fromarray(mask).save(folder / "mask.png")
    Image.fromarray(mask[:100]).save(folder / "small-mask.png")
    Image.fromarray(mask * 0).save(folder / "empty-mask.png")
    return folder


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def same_files(one: Path, other: Path, names: Sequence[str]) -> bool:
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in names)


# --- help, version, wrong usage ---


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
    assert re.search(r"default\s+\S*efficientnet_lite0\s+yes", result.stdout)
    assert re.search(r"paper\s+\S*resnet50", result.stdout)


# --- segment: what it writes ---


@pytest.fixture(scope="module")
def two_way(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    out = tmp_path_factory.mktemp("two-way") / "new" / "out"
    supports = ("--support", f"cat={photos / 'cat face.png'}", "--support", f"cup={photos / 'cup.jpg'}")
    result = fewshot("segment", photos / "cat.png", photos / "cup.jpg", *supports, "--out", out)
    assert result.exit_code == 0, result.stderr
    return out, result


def test_segment_writes_what_the_contract_says(two_way, photos):
    out, _ = two_way
    assert names_in(out) == [
        "cat_mask.png", "cat_overlay.jpg", "cup_mask.png", "cup_overlay.jpg", "results.json",
    ]  # fmt: skip
    content = results_of(out)
    assert content["classes"] == ["cat", "cup"]
    assert [image["path"] for image in content["images"]] == [
        str(photos / "cat.png"),
        str(photos / "cup.jpg"),
    ]
    for image, size in zip(content["images"], [(300, 451), (400, 600)], strict=True):
        assert (tuple(image["size"]), image["error"]) == (size, None)
        with Image.open(out / image["mask"]) as png:
            assert png.mode == "P"
            labels = np.asarray(png)
        assert labels.shape == size
        with Image.open(out / image["overlay"]) as jpeg:
            assert (jpeg.format, jpeg.size) == ("JPEG", size[::-1])
        found = {entry["class"]: entry for entry in image["objects"]}
        assert [content["classes"].index(name) + 1 for name in found] == sorted(set(np.unique(labels)) - {0})
        for name, entry in found.items():
            mask = decode_rle(entry["segmentation"])
            np.testing.assert_array_equal(mask, labels == content["classes"].index(name) + 1)
            assert entry["area"] == mask.sum() > 0
            assert 0 <= entry["score"] <= 1
            rows, columns = np.nonzero(mask)
            x, y, w, h = entry["bbox"]
            assert (x, y) == (columns.min(), rows.min())
            assert (x + w - 1, y + h - 1) == (columns.max(), rows.max())


def test_segment_finds_the_right_class_in_each_photograph(two_way):
    for image, name in zip(results_of(two_way[0])["images"], ["cat", "cup"], strict=True):
        areas = {entry["class"]: entry["area"] for entry in image["objects"]}
        assert max(areas, key=areas.__getitem__) == name
        assert areas[name] > 0.1 * image["size"][0] * image["size"][1]


def test_the_summary_is_on_stdout_and_nothing_on_stderr(two_way, photos):
    out, result = two_way
    assert result.stderr == ""
    assert re.search(rf"{re.escape(str(photos / 'cat.png'))}\s+cat\s+\d+\.\d\s+0\.\d\d", result.stdout)
    assert f"2 of 2 images are in {out}" in result.stdout


def test_a_second_run_gives_the_same_files_whatever_the_threads_and_batches(two_way, photos, tmp_path):
    out, _ = two_way
    supports = ("--support", f"cat={photos / 'cat face.png'}", "--support", f"cup={photos / 'cup.jpg'}")
    queries = (photos / "cat.png", photos / "cup.jpg")
    fewshot("segment", *queries, *supports, "--out", tmp_path, "--threads", "1", "--batch-size", "1")
    assert same_files(out, tmp_path, ["cat_mask.png", "cup_mask.png", "cup_overlay.jpg"])
    before = names_in(tmp_path)
    (tmp_path / "cat_mask.png").write_bytes(b"stale")
    assert fewshot("segment", *queries, *supports, "--out", tmp_path).exit_code == 0
    assert names_in(tmp_path) == before
    assert same_files(out, tmp_path, ["cat_mask.png"])


def test_masks_and_boxes_are_accepted(photos, tmp_path):
    mask = ("--support-mask", f"cat={photos / 'mask.png'}")
    box = ("--support-box", "cat=20,20,340,260")
    for number, given in enumerate((mask, box)):
        out = tmp_path / str(number)
        result = fewshot(
            "segment",
            photos / "cup.jpg",
            "--support",
            f"cat={photos / 'cat.png'}",
            *given,
            "--out",
            out,
            "--refine",
            "none",
        )
        assert result.exit_code == 0, result.stderr
        assert results_of(out)["classes"] == ["cat"]


# --- segment: queries of every kind ---


@pytest.fixture(scope="module")
def mixed(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result, list[Path], list[Path]]:
    """One run over every kind of good and bad file, bad ones first: (out, result, good, bad)."""
    folder = tmp_path_factory.mktemp("mixed")
    bad, good = write_bad_images(folder / "bad"), write_good_images(folder / "good")
    del bad["folder"]  # an empty folder is named like an image: it gets an entry as well, tested below
    queries = [*bad.values(), *good.values()]
    out = folder / "out"
    result = fewshot("segment", *queries, "-s", photos / "cat.png", "-o", out)
    return out, result, list(good.values()), list(bad.values())


def test_unreadable_queries_are_reported_and_the_others_done(mixed):
    out, result, good, bad = mixed
    assert result.exit_code == 1
    content = results_of(out)
    entries = {Path(entry["path"]): entry for entry in content["images"]}
    assert list(entries) == [*bad, *good]
    for path in bad:
        entry = entries[path]
        assert entry["error"]
        assert "\n" not in entry["error"]
        assert (entry["size"], entry["objects"], entry["mask"], entry["overlay"]) == (None, [], None, None)
        assert f"fewshot-seg: error: {entry['error']}" in result.stderr
    assert len(result.stderr.splitlines()) == len(bad)
    assert "Traceback" not in result.stderr
    assert f"{len(good)} of {len(good) + len(bad)} images" in result.stdout


def test_every_good_query_has_its_own_files_of_its_own_size(mixed):
    out, _, good, _ = mixed
    entries = [entry for entry in results_of(out)["images"] if entry["error"] is None]
    masks = {entry["mask"] for entry in entries}
    assert len(masks) == len(good)
    assert set(names_in(out)) == masks | {entry["overlay"] for entry in entries} | {"results.json"}
    for entry in entries:
        with Image.open(out / entry["mask"]) as png:
            assert list(png.size) == entry["size"][::-1]


def test_a_turned_photograph_gets_its_mask_as_a_viewer_shows_it(mixed):
    sizes = {Path(entry["path"]).stem: entry["size"] for entry in results_of(mixed[0])["images"]}
    height, width = picture().shape[:2]
    assert all(sizes[f"exif_{orientation}"] == [height, width] for orientation in range(1, 9))


def test_queries_of_the_same_name_overwrite_nothing(photos, tmp_path):
    for name in ("a/x.png", "b/x.png", "c/x-2.png", "d/X.png"):
        (tmp_path / name).parent.mkdir()
        shutil.copy(photos / "cat face.png", tmp_path / name)
    Image.fromarray(skimage.data.coffee()).save(tmp_path / "a" / "x.jpg")
    out = tmp_path / "out"
    result = fewshot("segment", tmp_path, "--recursive", "-s", photos / "cat.png", "-o", out, "--refine", "none")
    assert result.exit_code == 0, result.stderr
    entries = results_of(out)["images"]
    assert len({entry["mask"].casefold() for entry in entries}) == len(entries) == 5
    by_path = {Path(entry["path"]).relative_to(tmp_path).as_posix(): entry for entry in entries}
    assert by_path["c/x-2.png"]["mask"] == "x-2_mask.png"
    for name, entry in by_path.items():
        with Image.open(out / entry["mask"]) as png, Image.open(tmp_path / name) as query:
            assert png.size == query.size
    assert len(names_in(out)) == 2 * 5 + 1


def test_a_pattern_that_finds_nothing_has_an_entry(photos, tmp_path):
    (tmp_path / "empty").mkdir()
    queries = (tmp_path / "empty", tmp_path / "*.jpg", photos / "cat.png", photos / "cat.png")
    result = fewshot("segment", *queries, "-s", photos / "cat.png", "-o", tmp_path / "out", "--refine", "none")
    assert result.exit_code == 1
    entries = results_of(tmp_path / "out")["images"]
    assert [bool(entry["error"]) for entry in entries] == [True, True, False], "a query named twice is done once"


def test_a_support_that_equals_the_query(photos, tmp_path):
    result = fewshot("segment", photos / "cat.png", "-s", photos / "cat.png", "-o", tmp_path)
    assert result.exit_code == 0
    assert results_of(tmp_path)["images"][0]["objects"][0]["class"] == "object"


# --- segment: what stops it ---


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
def test_ctrl_c_keeps_what_is_finished(photos, tmp_path):
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
        end = time.monotonic() + 60
        while not (out / "1_mask.png").exists() and process.poll() is None and time.monotonic() < end:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    entries = results_of(out)["images"]
    assert 1 <= len(entries) < 60
    assert all((out / entry["mask"]).exists() for entry in entries)
    assert re.search(rf"^fewshot-seg: interrupted: {len(entries)} of 60 images are done and kept", stderr, re.M)
    assert "Traceback" not in stderr
    assert not [name for name in names_in(out) if name.startswith(".")]


# --- explain ---


@pytest.mark.parametrize("count", [2, 3, 4])
def test_explain_a_tuple(photos, tmp_path, count):
    images = [photos / "cat.png", photos / "cat face.png", photos / "cup.jpg", photos / "mask.png"][:count]
    result = fewshot("explain", *images, "--out", tmp_path)
    assert result.exit_code == 0, result.stderr
    content = json.loads((tmp_path / "explain.json").read_text("utf-8"))
    assert [image["path"] for image in content["images"]] == [str(path) for path in images]
    assert len(content["similarities"]) == count * (count - 1) // 2
    assert content["through_norm"] is False
    assert 0.5 < content["similarities"][0]["cosine"] < 1
    with Image.open(tmp_path / content["sheet"]) as sheet:
        assert sheet.width > count * 300
    for path, image in zip(images, content["images"], strict=True):
        with Image.open(tmp_path / image["overlay"]) as overlay, Image.open(path) as original:
            assert overlay.size == original.size
    assert str(tmp_path / "explain.png") in result.stdout


def test_explain_options_change_the_maps(photos, tmp_path):
    pair = (photos / "cat.png", photos / "cup.jpg")
    pictures = set()
    for number, options in enumerate([[], ["--different"], ["--letter"], ["--through-norm"]]):
        assert fewshot("explain", *pair, *options, "--out", tmp_path / str(number)).exit_code == 0
        pictures.add((tmp_path / str(number) / "cat_attention.jpg").read_bytes())
    assert len(pictures) == 3


def test_explain_the_same_image_twice(photos, tmp_path):
    result = fewshot("explain", photos / "cat.png", photos / "cat.png", "--out", tmp_path)
    assert result.exit_code == 0
    assert {"cat_attention.jpg", "cat-2_attention.jpg"} < set(names_in(tmp_path))
    assert "1.000" in result.stdout


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        (["cat.png"], [], "2 to 4"),
        (["cat.png"] * 5, [], "2 to 4"),
        (["cat.png", "cup.jpg", "mask.png"], ["--different"], "pair"),
        (["cat.png", "nowhere.png"], [], "nowhere.png"),
    ],
)
def test_explain_mistakes(photos, tmp_path, images, options, message):
    result = fewshot("explain", *(photos / name for name in images), *options, "--out", tmp_path / "out")
    assert message in error_line(result)
    assert not (tmp_path / "out").exists(), "nothing is made before the images are read"


# --- demo ---


def test_demo(tmp_path):
    out = tmp_path / "demo out"
    result = fewshot("demo", "--out", out)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines()[-1].endswith(str(out / "index.png"))
    with Image.open(out / "index.png") as sheet:
        assert sheet.width > 1000
        assert sheet.height > 1000
    scenes = sorted(out.glob("*/results.json"))
    assert len(scenes) >= 4
    assert {len(results_of(path.parent)["classes"]) for path in scenes} == {1, 2}
    for path in scenes:
        content = results_of(path.parent)
        (image,) = content["images"]
        assert Path(image["path"]).is_file()
        assert {entry["class"] for entry in image["objects"]} == set(content["classes"])
        for entry in image["objects"]:
            assert 0.02 < entry["area"] / (image["size"][0] * image["size"][1]) < 0.7
            assert entry["class"] in result.stdout
