"""`fewshot-seg segment`: --quality, --joint, --not, --always and their like, and what is said of absent objects."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fewshot_seg.commands.results import failed_entry, save_result, table_rows
from fewshot_seg.commands.way import Way
from fewshot_seg.segmentation.options import SegmenterOptions
from fewshot_seg.segmentation.results import ObjectResult, Segmentation
from tests.fewshot_seg.command_line import error_line, fewshot, results_of, same_files

MASKS = ["cat_mask.png", "cup_mask.png"]


def run(photos: Path, out: Path, *options: str | Path) -> None:
    support = ("-s", f"cat={photos / 'cat face.png'}")
    result = fewshot("segment", photos / "cat.png", photos / "cup.jpg", *support, "-o", out, *options)
    assert result.exit_code == 0, result.stderr


@pytest.fixture(scope="module")
def fast(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("fast")
    run(photos, out, "--quality", "fast", "--always")
    return out


def test_fast_is_without_refinement_unless_it_is_asked_for(photos, fast, tmp_path):
    assert not any(one["refined"] for image in results_of(fast)["images"] for one in image["objects"])
    run(photos, tmp_path / "cut", "-q", "fast", "--always", "--refine", "grabcut")
    assert any(one["refined"] for image in results_of(tmp_path / "cut")["images"] for one in image["objects"])
    assert not same_files(fast, tmp_path / "cut", MASKS)


def test_each_way_gives_other_masks(photos, fast, tmp_path):
    for name, options in {
        "attention": ("--locate-by", "attention"),
        "not": ("--not", photos / "cup.jpg"),
        "joint": ("--joint",),
    }.items():
        run(photos, tmp_path / name, "-q", "fast", "--always", *options)
        assert results_of(tmp_path / name)["classes"] == ["cat"], "what is not meant is no class"
        assert not same_files(fast, tmp_path / name, MASKS), name


def test_a_cup_is_no_cat_unless_it_must_be(photos, fast, tmp_path):
    run(photos, tmp_path, "-q", "fast")
    cat, cup = results_of(tmp_path)["images"]
    assert not cat["absent"]
    (absent,) = cup["absent"]
    assert absent["class"] == "cat"
    assert absent["score"] < SegmenterOptions().presence
    assert not np.asarray(Image.open(tmp_path / "cup_mask.png")).any()
    assert np.asarray(Image.open(fast / "cup_mask.png")).any()


def test_what_is_not_meant_loses(photos, fast, tmp_path):
    run(photos, tmp_path, "-q", "fast", "--always", "--not", photos / "cup.jpg")
    before, after = ((np.asarray(Image.open(out / "cup_mask.png")) > 0).sum() for out in (fast, tmp_path))
    assert after < before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--not", "nowhere.jpg"), "nowhere.jpg"),
        (("--matcher", "nobody"), "nobody"),
        (("--locate-by", "matching", "--matcher", "none"), "matcher"),
    ],
)
def test_bad_ways_are_one_line(photos, tmp_path, options, words):
    result = fewshot("segment", photos / "cat.png", "-s", photos / "cat face.png", "-o", tmp_path / "out", *options)
    assert words in error_line(result)


def test_a_choice_that_is_none_is_refused_at_once(photos, tmp_path):
    for options in (("--quality", "good"), ("--presence", "2"), ("--refine", "much")):
        result = fewshot("segment", photos / "cat.png", "-s", photos / "cat.png", "-o", tmp_path / "out", *options)
        assert result.exit_code == 2
    assert not (tmp_path / "out").exists()


def test_a_result_never_takes_the_place_of_what_is_not_meant(photos, tmp_path):
    unlike = tmp_path / "cat_mask.png"
    unlike.write_bytes((photos / "cat.png").read_bytes())
    result = fewshot("segment", photos / "cat.png", "-s", photos / "cup.jpg", "-o", tmp_path, "--not", unlike)
    assert "cat_mask.png" in error_line(result)


def test_a_way_is_what_was_chosen_of_the_options():
    assert SegmenterOptions.of_quality("default", **Way().changes()) == SegmenterOptions()
    chosen = Way("fast", presence=0.3, always=True).changes()
    assert SegmenterOptions.of_quality("fast", **chosen).presence == 0.3
    assert SegmenterOptions.of_quality("fast", **chosen).refine == "none"


def test_absent_objects_stand_in_the_entry_and_in_the_table(tmp_path):
    labels = np.zeros((8, 10), np.int32)
    labels[2:6, 3:8] = 2
    map_, seeds = np.zeros((2, 2), np.float32), np.zeros((4, 5), np.uint8)
    objects = tuple(
        ObjectResult(name, score, map_, seeds, label, labels, refined=label == 2)
        for label, (name, score) in enumerate((("cat", 0.04), ("cup", 0.9)), start=1)
    )
    result = Segmentation("x.png", labels, objects)
    entry = save_result(tmp_path, "x", "x.png", np.zeros((8, 10, 3), np.uint8), result)
    (found,) = entry["objects"]
    assert (found["class"], found["area"], found["refined"]) == ("cup", 20, True)
    assert set(found) == {
        "class",
        "doubtful",
        "instances",
        "meaning",
        "area",
        "score",
        "refined",
        "bbox",
        "segmentation",
    }
    assert entry["absent"] == [{"class": "cat", "score": 0.04, "doubtful": False}]
    doubtful = replace(objects[1], threshold=0.85)
    assert doubtful.doubtful
    assert doubtful.present
    assert not objects[0].present
    again = replace(result, objects=(objects[0], doubtful))
    other = save_result(tmp_path, "z", "z.png", np.zeros((8, 10, 3), np.uint8), again)
    assert table_rows([other])[0] == ("z.png", "cup", "kind", "1", "25.0", "0.90?")
    rows = table_rows([entry, failed_entry("y.png", "no image")])
    assert rows == [
        ("x.png", "cup", "kind", "1", "25.0", "0.90"),
        ("x.png", "cat", "", "", "absent", "0.04"),
        ("y.png", "error", "", "", "", ""),
    ]
