"""Tuning: settings from text, no look at what is scored, cross-validation over classes, resuming."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eval.episodes.plan import SegmentationTask
from eval.episodes.scoring import Scoring
from eval.studies.settings import nested, parse_grid, parse_setting, parse_values
from eval.studies.sweep import Sweep, _folder_name, check_leakage, class_groups, cross_validate, run_sweep
from fewshot_seg.datasets.pascal import PascalVoc
from fewshot_seg.errors import ConfigError, FewShotError
from tests.eval.command_line import evaluate
from tests.fewshot_seg.datasets.voc_files import make_voc, sixteen

SETTINGS = {"refine": ["none"], "seeds.threshold": [0.3, "otsu"]}


@pytest.fixture
def task(tmp_path: Path) -> SegmentationTask:
    voc = make_voc(tmp_path / "voc", sixteen(first=6))
    (voc / "list.txt").write_text(
        "\n".join(f"{name}_{n}__{label}" for n in range(2) for name, label in (("a", "06"), ("b", "07")))
    )
    task = SegmentationTask(voc, tmp_path / "sweep", split_list=voc / "list.txt", device="cpu")
    return replace(task, fold="all", skip_small_classes=True, scoring=Scoring(samples=50), workers=1)


# Text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rejection=0,0.5", ("rejection", [0, 0.5])),
        ("seeds.threshold = otsu, 0.4", ("seeds.threshold", ["otsu", 0.4])),
        ("through_norm=true,false", ("through_norm", [True, False])),
        ("threads=null", ("threads", [None])),
        ("refine=none", ("refine", ["none"])),
    ],
)
def test_values_from_text(text: str, expected: tuple[str, list[Any]]) -> None:
    assert parse_values(text) == expected


@pytest.mark.parametrize("text", ["rejection", "=1", "a..b=1", "a=", "a=1,,2", "a=1,1", ".a=2"])
def test_text_that_is_no_setting(text: str) -> None:
    with pytest.raises(ConfigError, match=r"give OPTION=VALUE|name each once"):
        parse_values(text)


def test_dotted_names_nest() -> None:
    assert nested([("a", 1), ("b.c", 2), ("b.d", 3)]) == {"a": 1, "b": {"c": 2, "d": 3}}
    assert parse_grid(["a=1,2", "b=x"]) == {"a": [1, 2], "b": ["x"]}


@pytest.mark.parametrize("settings", [[("a", 1), ("a", 2)], [("a", 1), ("a.b", 2)], [("a.b", 2), ("a", 1)]])
def test_settings_that_collide(settings: list[tuple[str, Any]]) -> None:
    with pytest.raises(ConfigError, match="is set"):
        nested(settings)


def test_one_value_is_one_value() -> None:
    assert parse_setting("seeds.background=0.2") == ("seeds.background", 0.2)
    with pytest.raises(ConfigError, match="one value is wanted"):
        parse_setting("a=1,2")
    with pytest.raises(ConfigError, match="is set twice"):
        parse_grid(["a=1", "a=2"])


def test_folder_names_are_plain_and_differ() -> None:
    assert _folder_name({"rejection": 0.5, "seeds.threshold": "otsu"}) == "rejection=0.5,seeds.threshold=otsu"
    names = [_folder_name({"a": "../x"}), _folder_name({"a": "/./x"}), _folder_name({"a": "y" * 300})]
    assert len(set(names)) == 3
    assert all("/" not in name and len(name) < 200 for name in names)


# No look at what is scored


def test_a_list_that_shares_images_is_refused(task: SegmentationTask, tmp_path: Path) -> None:
    (tmp_path / "score.txt").write_text("a_1__06\nz__01\nb_0__07\n")
    sweep = Sweep(task, SETTINGS, (tmp_path / "score.txt",))
    with pytest.raises(ConfigError, match=r"2 images of the development list are in .*score\.txt: a_1, b_0; tune on"):
        run_sweep(sweep)
    assert not task.out.exists()


def test_pascal_s_validation_images_are_refused_without_being_named(tmp_path: Path) -> None:
    voc = make_voc(tmp_path / "voc", {"2007_000033": (1,), "a": (1,)})
    with pytest.raises(ConfigError, match=r"1 images .* PASCAL-5i's validation lists: 2007_000033"):
        check_leakage(PascalVoc(voc, voc / "list.txt"), [])


def test_other_lists_pass(task: SegmentationTask, tmp_path: Path) -> None:
    (tmp_path / "score.txt").write_text("other__06\n")
    check_leakage(PascalVoc(task.root, task.split_list), [tmp_path / "score.txt"])


# Cross-validation


def test_each_group_is_counted_at_what_the_others_chose() -> None:
    points = [{"x": 1}, {"x": 2}]
    ious = [{1: 0.9, 2: 0.1, 3: 0.2}, {1: 0.0, 2: 0.3, 3: 0.5}]
    choices = cross_validate(points, ious, [(1,), (2, 3)], {1: "a", 2: "b", 3: "c"})
    assert [(one.classes, one.settings["x"], one.ious) for one in choices] == [
        (("a",), 2, {"a": 0.0}),
        (("b", "c"), 1, {"b": 0.1, "c": 0.2}),
    ]


def test_one_group_cannot_be_held_out() -> None:
    assert cross_validate([{"x": 1}], [{1: 0.5}], [(1,)], {1: "a"}) == []


def test_groups_are_the_folds_or_every_other_class(task: SegmentationTask) -> None:
    dataset = PascalVoc(task.root, task.split_list)
    assert class_groups(dataset, range(1, 21), 4) == [tuple(range(n, n + 5)) for n in (1, 6, 11, 16)]
    assert class_groups(dataset, (6, 7, 8), 4) == [(6,), (7,), (8,)]
    assert class_groups(dataset, (1, 2, 3, 4, 5), 2) == [(1, 3, 5), (2, 4)]


# The whole


def test_a_sweep_s_points_are_runs_and_resume(task: SegmentationTask) -> None:
    result = run_sweep(Sweep(task, SETTINGS))
    assert [path.name for path in sorted(task.out.iterdir())] == [
        "refine=none,seeds.threshold=0.3",
        "refine=none,seeds.threshold=otsu",
        "sweep.json",
    ]
    config = json.loads((task.out / "refine=none,seeds.threshold=0.3" / "config.json").read_text())
    assert config["episodes"] == 4  # each entry of the list once
    assert config["segmenter"]["ours"]["seeds"]["threshold"] == 0.3
    ranked = [one.figures["miou"].value for one in result.points]
    assert ranked == sorted(ranked, reverse=True)
    assert [one.classes for one in result.choices] == [("bus",), ("car",)]
    stored = json.loads((task.out / "sweep.json").read_text())
    assert stored["cross_validation"]["miou"] == pytest.approx(result.validated)
    before = {path: path.stat().st_mtime_ns for path in task.out.rglob("predictions.jsonl")}
    more = run_sweep(Sweep(task, {**SETTINGS, "seeds.threshold": [0.3, "otsu", 0.6]}))
    assert len(more.points) == 3
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.parametrize(
    ("settings", "message"),
    [({}, "nothing to try"), ({"colour": [1]}, "colour"), ({"rejection": [-1]}, "rejection -1")],
)
def test_impossible_sweeps_stop_before_the_first_run(
    task: SegmentationTask, settings: dict[str, list[Any]], message: str
) -> None:
    with pytest.raises(FewShotError, match=message):
        run_sweep(Sweep(task, settings))
    assert not task.out.exists()


def test_the_command(task: SegmentationTask) -> None:
    options = ["--root", task.root, "--split-list", task.split_list, "--out", task.out, "--skip-small-classes"]
    settings = ["--set", "refine=none", "--set", "seeds.threshold=0.3,0.6", "--episodes", 3, "--device", "cpu"]
    done = evaluate("sweep", *options, *settings)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Options, best first" in done.stdout
    assert "Cross-validated mean IoU" in done.stdout
    assert len(json.loads((task.out / "sweep.json").read_text())["points"]) == 2
