"""`fewshot-seg segment`: what it writes, and for queries of every kind."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image
from typer.testing import Result

from fewshot_seg.imaging.geometry import decode_rle
from fewshot_seg.locks import sole_user
from tests.fewshot_seg.command_line import error_line, fewshot, names_in, results_of, same_files
from tests.fewshot_seg.image_files import picture, write_bad_images, write_good_images


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


def test_the_summary_is_on_stdout_and_only_notes_on_stderr(two_way, photos):
    out, result = two_way
    for line in result.stderr.splitlines():  # a cup and its saucer may be two things
        assert line.startswith(f"fewshot-seg: note: {photos / 'cup.jpg'}: may show two different things")
    assert re.search(
        rf"{re.escape(str(photos / 'cat.png'))}\s+cat\s+(kind|thing)\s+\d+\s+\d+\.\d\s+[01]\.\d\d", result.stdout
    )
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
    said = [line for line in result.stderr.splitlines() if not line.endswith(" s left")]  # a busy machine tells how far
    assert len(said) == len(bad)
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


def test_results_among_the_images_are_not_segmented_again(photos, tmp_path):
    """Twice into the folder of the images, and once into a folder below them."""
    for name in ("cat.png", "cup.jpg"):
        shutil.copy(photos / name, tmp_path / name)
    for patterns, out in (
        ([tmp_path], "."),
        ([tmp_path, tmp_path / "*.*"], "."),
        ([tmp_path, "-r"], "a"),
        ([tmp_path, "-r"], "b"),
    ):
        run = fewshot("segment", *patterns, "-s", photos / "cat face.png", "-o", tmp_path / out, "--refine", "none")
        assert run.exit_code == 0, run.stderr
        entries = results_of(tmp_path / out)["images"]
        assert [Path(entry["path"]).name for entry in entries] == ["cat.png", "cup.jpg"]
    assert "results of an earlier run are left out" in run.stderr
    named = ("segment", tmp_path / "cat_overlay.jpg", "-s", photos / "cat face.png", "-o", tmp_path / "c")
    assert fewshot(*named, "--refine", "none").exit_code == 0, "a result that is named by itself is meant"
    only = fewshot("segment", tmp_path / "a", "-s", photos / "cat face.png", "-o", tmp_path / "d")
    assert only.exit_code == 1
    assert "only results" in results_of(tmp_path / "d")["images"][0]["error"]


def test_a_name_does_not_steer_the_terminal(photos, tmp_path):
    shutil.copy(photos / "cat.png", tmp_path / "a\nb\x1b[31m.png")
    run = fewshot(
        "segment", tmp_path, "-s", f"c\x1b[2J={photos / 'cat.png'}", "-o", tmp_path / "out", "--refine", "none"
    )
    assert run.exit_code == 0, run.stderr
    assert "\x1b" not in run.stdout
    assert "a\\nb\\x1b[31m.png" in run.stdout
    assert results_of(tmp_path / "out")["images"][0]["path"] == str(tmp_path / "a\nb\x1b[31m.png")


def test_a_later_run_adds_its_results_to_the_folder_s(photos, tmp_path):
    def segment(name, *queries):
        result = fewshot(
            "segment", *queries, "--support", f"{name}={photos / 'cat face.png'}", "--out", tmp_path / "out"
        )
        assert result.exit_code == 0, result.stderr
        return results_of(tmp_path / "out")

    other = tmp_path / "other" / "cat.png"
    other.parent.mkdir()
    shutil.copy(photos / "cup.jpg", other)
    first = segment("cat", photos / "cat.png")
    (tmp_path / "out" / ".fewshot-seg-1-0123abcd.tmp").touch()  # of a killed run
    (tmp_path / "out" / ".mine.tmp").touch()
    before = (tmp_path / "out" / "cat_mask.png").read_bytes()
    both = segment("face", other)
    assert both["classes"] == ["cat", "face"]
    assert both["images"][0] == first["images"][0]
    assert (both["images"][1]["path"], both["images"][1]["classes"]) == (str(other), ["face"])
    assert (tmp_path / "out" / "cat_mask.png").read_bytes() == before
    assert names_in(tmp_path / "out") == [
        ".mine.tmp", "cat-2_mask.png", "cat-2_overlay.jpg", "cat_mask.png", "cat_overlay.jpg", "results.json",
    ]  # fmt: skip
    again = segment("cat", other)
    assert again["images"] == [first["images"][0], {**again["images"][1], "path": str(other), "mask": "cat-2_mask.png"}]
    assert again["classes"] == ["cat", "face"]
    assert "classes" not in again["images"][1]


@pytest.mark.parametrize("name", ["results.json", "cup_overlay.jpg", "cup_mask.png", "link"])
def test_a_file_of_others_is_never_replaced(photos, tmp_path, name):
    out = tmp_path / "out"
    out.mkdir()
    if name == "link":
        (tmp_path / "mine.jpg").write_bytes(b"mine")
        (out / "cup_overlay.jpg").symlink_to(tmp_path / "mine.jpg")
    else:
        (out / name).write_bytes(b'{"images": []}')
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    result = fewshot("segment", photos / "cup.jpg", "--support", photos / "cat face.png", "--out", out)
    assert "no result of an earlier run; move it, or choose another --out" in error_line(result)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_two_runs_at_once_in_one_folder(photos, tmp_path):
    with sole_user(tmp_path):
        result = fewshot("segment", photos / "cup.jpg", "--support", photos / "cat face.png", "--out", tmp_path)
    assert "another process is at work in it; wait, or change --out" in error_line(result)
    assert names_in(tmp_path) == []
