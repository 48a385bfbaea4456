"""The development figures in one table."""

from __future__ import annotations

from pathlib import Path

import pytest

from eval.episodes.plan import SegmentationTask
from eval.studies.dev import DevPlan, run_dev
from fewshot_seg.errors import DataError
from tests.eval.command_line import evaluate
from tests.fewshot_seg.datasets.voc_files import make_voc

BLIND = ("all-foreground", "centre-box")


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    """Fold 0 has two classes with three images, both in two of them; fold 1 one class; folds 2 and 3 none."""
    contents = {"a": (1,), "b": (2,), "c": (1, 2), "d": (1, 2), "e": (6,), "f": (6,)}
    return make_voc(tmp_path / "voc", contents)


def test_what_can_be_run_is_in_the_table_and_what_cannot_under_it(voc: Path, tmp_path: Path) -> None:
    task = SegmentationTask(voc, tmp_path / "dev", split_list=voc / "list.txt", methods=BLIND)
    table = run_dev(DevPlan(task, settings=((1, 1), (2, 1))))
    assert [row[:2] for row in table.rows] == [
        ("1way-1shot: all-foreground", "1-way 1-shot"),
        ("1way-1shot: centre-box", "1-way 1-shot"),
        ("2way-1shot/fold0: all-foreground", "2-way 1-shot"),
        ("2way-1shot/fold0: centre-box", "2-way 1-shot"),
    ]
    assert "not the benchmark" in table.title
    notes = "\n".join(table.notes)
    assert "1-way 1-shot, fold 2: not run, no class of fold 2 has the 2 images" in notes
    assert "2-way 1-shot, fold 1: not run, way 2" in notes
    assert "Left out of 1-shot runs, for having too few images: bird, boat" in notes
    assert "2way-1shot/fold0: all-foreground: in 4 of 6 episodes the query holds all the classes" in notes
    assert "--split-list val/foldI.txt" in notes
    assert run_dev(DevPlan(task, settings=((1, 1), (2, 1)))) == table


def test_a_folder_without_data(tmp_path: Path) -> None:
    task = SegmentationTask(tmp_path / "nothing", tmp_path / "dev", methods=BLIND)
    with pytest.raises(DataError, match=r"nothing: has no JPEGImages; give a folder in VOC's layout by --root"):
        run_dev(DevPlan(task))


def test_the_command_writes_markdown(voc: Path, tmp_path: Path) -> None:
    parts = ["--root", voc, "--split-list", voc / "list.txt", "--out", tmp_path / "dev"]
    done = evaluate("dev", *parts, "--method", "centre-box")
    assert (done.returncode, done.stderr) == (0, "")
    lines = (tmp_path / "dev" / "dev.md").read_text().splitlines()
    assert lines[0].startswith("**Development figures")
    assert sum(line.startswith("| 1way-1shot") for line in lines) == 1
