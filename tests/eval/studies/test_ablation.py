"""The table of what each part is worth."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from eval.episodes.methods import METHODS
from eval.studies.ablation import ABLATED, AblationPlan, Row, ablation_rows, ablation_table, run_ablation
from eval.studies.systems import load_systems
from fewshot_seg.errors import ConfigError
from tests.eval.command_line import evaluate
from tests.eval.tiny import tiny_task


def row(method: str, way: int, *values: float) -> Row:
    scores = {name: list(values) for name in ("miou", "fb_iou", "binary_iou")}
    return Row(method, (way, 1), scores, "none", ("0", "1"))


def test_means_spreads_and_differences_are_over_seeds() -> None:
    rows = [row("ours", 1, 0.5, 0.6), row("paper", 1, 0.2, 0.4), row("ours", 2, 0.3, 0.3)]
    table = ablation_table(rows, 2, {"2-way 1-shot, fold 3": "why"})
    assert table.columns[3:] == (
        *("1-way 1-shot mean IoU", "from ours", "FB-IoU"),
        *("2-way 1-shot mean IoU", "from ours", "binary IoU"),
    )
    assert table.rows[0][3:] == ("55.0 ± 7.1", "", "55.0 ± 7.1", "30.0 ± 0.0", "", "30.0 ± 0.0")
    assert table.rows[1][3:] == ("30.0 ± 14.1", "-25.0 ± 7.1", "30.0 ± 14.1", "-", "-", "-")
    assert "1-way 1-shot: 0, 1" in table.notes[0]
    assert table.notes[-1] == "2-way 1-shot, fold 3: not run, why."


def test_one_seed_has_no_spread_and_what_is_undefined_no_figure() -> None:
    table = ablation_table([row("ours", 1, 0.5), row("paper", 1, math.nan)], 1, {})
    assert [one[3] for one in table.rows] == ["50.0", "-"]


def test_it_is_of_methods_that_there_are() -> None:
    assert set(ABLATED) <= set(METHODS)
    assert ABLATED[0] == "ours"


def test_a_run_s_figures_are_those_of_its_runs_and_a_second_one_is_the_same(tmp_path: Path) -> None:
    task = tiny_task(tmp_path, episodes=3, methods=("ours", "no-grabcut", "class-by-class", "centre-box"))
    plan = AblationPlan(task, (0, 1), ((1, 1), (2, 1)))
    table = run_ablation(plan)
    assert [one[0] for one in table.rows] == ["ours", "no-grabcut", "centre-box", "class-by-class"]
    assert [one[3] == "-" for one in table.rows] == [False, False, False, True]
    assert all("-" not in one[6] for one in table.rows)
    assert any(note.startswith("1-way 1-shot, fold 0: not run, no class of fold 0") for note in table.notes)
    rows = ablation_rows(load_systems(sorted(task.out.glob("seed*/*/fold1"))))
    ours = next(one for one in rows if (one.method, one.setting) == ("ours", (1, 1)))
    each = [load_systems([task.out / f"seed{n}" / "1way-1shot" / "fold1"])[0].means(["1"])["miou"] for n in (0, 1)]
    assert ours.scores["miou"] == each
    assert table.rows[0][3] == f"{100 * np.mean(each):.1f} ± {100 * np.std(each, ddof=1):.1f}"
    assert run_ablation(plan) == table


def test_impossible_plans(tmp_path: Path) -> None:
    task = tiny_task(tmp_path)
    with pytest.raises(ConfigError, match="'ours' must be among them"):
        AblationPlan(replace(task, methods=("paper",)))
    with pytest.raises(ConfigError, match=r"seeds \[1, 1\]"):
        AblationPlan(task, (1, 1))


def test_the_command_writes_the_table_and_how_it_was_made(tmp_path: Path) -> None:
    task = tiny_task(tmp_path)
    parts = ["--root", task.root, "--split-list", task.split_list, "--weights", task.weights, "--device", "cpu"]
    parts += ["--out", tmp_path / "ablation", "--table", tmp_path / "table.md", "--method", "ours", "--setting", "1x1"]
    parts += ["--episodes", 2, "--seeds", 2]
    done = evaluate("ablation", *parts)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "table.md").read_text()
    assert text.startswith("**Ablation: per cent, mean and standard deviation over 2 seeds")
    assert "Made by: fewshot-eval ablation --dataset pascal5i --root voc --split-list list.txt --episodes 2" in text
    parts[parts.index("1x1")] = "1by1"
    done = evaluate("ablation", *parts)
    assert (done.returncode, done.stderr) == (1, "fewshot-eval: error: --setting 1by1: give WAYSxSHOTS, as in 1x5\n")
