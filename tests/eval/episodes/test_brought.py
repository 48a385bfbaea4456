"""Another program's predictions score as ours do, as a run of their own, and are checked line by line."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from eval.cli import app
from eval.episodes.brought import score_brought
from eval.episodes.plan import SegmentationTask
from eval.episodes.scoring import Scoring
from eval.episodes.segmentation import run_segmentation
from fewshot_seg.errors import ConfigError, DataError
from tests.fewshot_seg.datasets.voc_files import make_voc, sixteen

Line = dict[str, Any]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run of blind methods, and beside it `theirs.jsonl`, the second method's predictions shuffled."""
    voc = make_voc(tmp_path / "voc", sixteen(first=6))
    task = SegmentationTask(
        voc, tmp_path / "run", split_list=voc / "list.txt", methods=("centre-box", "all-foreground")
    )
    task = replace(task, fold=1, way=2, episodes=6, skip_small_classes=True, scoring=Scoring(samples=0))
    run_segmentation(task)
    lines = (task.out / "predictions-all-foreground.jsonl").read_text().splitlines()
    random.Random(0).shuffle(lines)
    (tmp_path / "theirs.jsonl").write_text("\n".join(lines))
    return task.out


def test_they_score_as_the_same_predictions_of_ours(run: Path, tmp_path: Path) -> None:
    arguments = ["score", run, "--predictions", tmp_path / "theirs.jsonl", "--name", "net-2", "--out", tmp_path / "own"]
    for _ in range(2):  # the same again goes into the same folder
        done = CliRunner().invoke(app, [*map(str, arguments), "--bootstrap", "0"])
        assert done.exit_code == 0, done.stderr
    metrics = json.loads((tmp_path / "own" / "metrics.json").read_text())
    ours = json.loads((run / "metrics.json").read_text())["methods"]["all-foreground"]
    assert metrics["methods"]["net-2"] == ours
    kept = (tmp_path / "own" / "predictions-net-2.jsonl").read_text()
    assert kept == (run / "predictions-all-foreground.jsonl").read_text()
    config = json.loads((tmp_path / "own" / "config.json").read_text())
    assert (config["methods"], config["weights"], config["episodes"]) == (["net-2"], None, 6)
    assert "code_sha256" not in config


def changed(change: Callable[[Line], object]) -> Callable[[list[str]], list[str]]:
    def of_lines(lines: list[str]) -> list[str]:
        first = json.loads(lines[0])
        change(first)
        return [json.dumps(first), *lines[1:]]

    return of_lines


def halved(line: Line) -> None:
    for mask in line["masks"].values():
        mask["size"] = [mask["size"][0], 3]


def overlapping(line: Line) -> None:
    first, second = line["masks"]
    line["masks"][second] = line["masks"][first]


BAD: dict[str, tuple[Callable[[list[str]], list[str]], str]] = {
    "no JSON": (lambda lines: ["{", *lines], r"theirs.jsonl:1: no JSON with index, query and masks"),
    "no object": (lambda lines: ["3", *lines], r":1: index None is of no episode; they are 0 to 5"),
    "twice": (lambda lines: [*lines, lines[0]], r":7: episode \d has a prediction already"),
    "missing": (lambda lines: lines[:-2], r"no prediction of episode \d, nor of 1 others"),
    "index": (changed(lambda line: line.update(index=True)), r":1: index True is of no episode"),
    "query": (changed(lambda line: line.update(query="x")), r":1: query 'x' is not episode \d's, '\w+'"),
    "supports": (changed(lambda line: line.update(supports={})), r":1: supports \{\} is not episode"),
    "no query": (changed(lambda line: line.pop("query")), r":1: no JSON with index, query and masks"),
    "a class": (changed(lambda line: line["masks"].popitem()), r":1: masks are of \['\w+'\], not of the episode's"),
    "size": (changed(halved), r":1: mask of '\w+': run lengths are of size \[\d+, 3\]"),
    "no mask": (changed(lambda line: line["masks"].update(dict.fromkeys(line["masks"]))), r"there are no run lengths"),
    "overlap": (changed(overlapping), r":1: mask of '\w+' overlaps another class's"),
    "score": (changed(lambda line: line.update(scores=dict.fromkeys(line["masks"], 2))), r":1: score 2 of '\w+'"),
    "scores": (changed(lambda line: line.update(scores=[1])), r":1: scores are of \[1\], not of the episode's"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_line_is_one_line_with_its_place(run: Path, tmp_path: Path, what: str) -> None:
    path, (change, message) = tmp_path / "theirs.jsonl", BAD[what]
    path.write_text("\n".join(change(path.read_text().splitlines())))
    with pytest.raises(DataError, match=message) as caught:
        score_brought(run, path, "theirs", tmp_path / "own")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "own").exists()


def test_a_name_of_ours_and_a_folder_of_something_else_are_refused(run: Path, tmp_path: Path) -> None:
    for name in ("ours", "../up", ""):
        with pytest.raises(ConfigError, match="choose letters"):
            score_brought(run, tmp_path / "theirs.jsonl", name, tmp_path / "own")
    with pytest.raises(ConfigError, match="holds another run"):
        score_brought(run, tmp_path / "theirs.jsonl", "theirs", run)
    done = CliRunner().invoke(app, ["score", str(run), "--predictions", str(tmp_path / "theirs.jsonl")])
    assert (done.exit_code, "give both" in done.stderr) == (2, True)
