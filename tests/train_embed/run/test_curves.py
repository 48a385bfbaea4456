"""A run's numbers: read back whatever happened to the run, and written as a table and a picture."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from PIL import Image

from fewshot_seg.errors import DataError
from train_embed.run.curves import best_record, read_metrics, validations, write_curves

RECORDS = [
    {"epoch": 0, "recall@1": 0.4, "recall@2": 0.5, "survival": 0.9},
    {"epoch": 0.5, "loss": 2.0, "loss_ml": 1.5, "loss_sm": 2.5, "lr_trunk": 1e-4},
    {"epoch": 1, "loss": 1.0, "recall@1": 0.6, "recall@2": 0.7, "survival": 0.8, "note": "ünrelated"},
    {"epoch": 2, "loss": 0.5, "recall@1": 0.6, "recall@2": 0.8, "survival": 0.7},
]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    log(tmp_path, *map(json.dumps, RECORDS))
    return tmp_path


def log(folder: Path, *lines: str) -> None:
    (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n", "utf-8")


def test_validations_and_the_best(run: Path) -> None:
    records = read_metrics(run)
    assert [record["epoch"] for record in validations(records)] == [0, 1, 2]
    assert best_record(records)["epoch"] == 1  # of equals the earliest
    assert "note" not in records[2]


def test_before_training_is_never_the_best(run: Path) -> None:
    log(run, '{"epoch": 0, "recall@1": 0.9}', '{"epoch": 1, "recall@1": 0.1}')
    assert best_record(read_metrics(run))["epoch"] == 1


def test_no_validation_yet(run: Path) -> None:
    log(run, '{"epoch": 0, "recall@1": 0.9}', '{"epoch": 1, "loss": 0.1}')
    with pytest.raises(DataError, match="--resume"):
        best_record(read_metrics(run))


def test_a_resumed_run_replaces_what_it_logs_again(run: Path) -> None:
    log(run, '{"epoch": 1, "loss": 5, "recall@1": 0.1}', '{"epoch": 2, "loss": 4}', '{"epoch": 1, "loss": 3}')
    assert read_metrics(run) == [{"epoch": 1, "loss": 3, "recall@1": 0.1}, {"epoch": 2, "loss": 4}]


def test_a_last_line_cut_short_is_left_out(run: Path) -> None:
    log(run, '{"epoch": 1, "loss": 5}', '{"epoch": 2, "lo')
    assert read_metrics(run) == [{"epoch": 1, "loss": 5}]


@pytest.mark.parametrize("line", ["nonsense", "[1]", "3"])
def test_a_damaged_line_is_named(run: Path, line: str) -> None:
    log(run, line, '{"epoch": 1}')
    with pytest.raises(DataError, match="line 1"):
        read_metrics(run)


def test_no_run(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is .* a run's folder"):
        read_metrics(tmp_path)


def test_table_and_picture(run: Path) -> None:
    table, picture = write_curves(run)
    with table.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["epoch"] for row in rows] == ["0", "0.5", "1", "2"]
    assert [row["recall@1"] for row in rows] == ["0.4", "", "0.6", "0.6"]
    with Image.open(picture) as image:
        image.load()
        assert image.width > image.height  # panels side by side


def test_a_run_that_logged_nothing_has_curves_too(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").touch()
    table, picture = write_curves(tmp_path)
    assert table.read_text() == "epoch\n"
    assert picture.stat().st_size > 0
