"""What hints are worth, by one command."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from eval.cli import app
from eval.commands.options import HintOf
from eval.studies.hint_runs import SETTINGS, HintPlan, behind, run_hints
from fewshot_seg.errors import ConfigError
from tests.eval.tiny import contents, tiny_task


def test_every_setting_is_a_choice() -> None:
    assert ("none", *HintOf) == SETTINGS


def test_unknown_settings(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown hint 'query-mask': choose none, support-mask"):
        HintPlan(tiny_task(tmp_path), settings=("query-mask",))


def test_hints_are_compared_with_none_on_the_same_queries(tmp_path: Path) -> None:
    task = tiny_task(tmp_path, episodes=6, out=tmp_path / "hints")
    plan = HintPlan(task, folds=(1,), settings=("support-box", "query-scribble"))
    found = run_hints(plan)
    assert [one.name for one in found.systems] == ["none", "support-box", "query-scribble"]
    assert {(one.base, one.pairing) for one in found.differences} == {("none", "same episodes")}
    scribble = found.differences[1]
    assert scribble.means["miou"].value > 0, "strokes on the object and around it help any network"
    assert "query-scribble" not in behind(found)
    before = contents(task.out)
    assert run_hints(replace(plan)).to_dict() == found.to_dict()
    assert contents(task.out) == before


def test_the_command_says_what_is_no_better_than_none(tmp_path: Path) -> None:
    task = tiny_task(tmp_path)
    common = ["--root", task.root, "--split-list", task.split_list, "--weights", task.weights, "--device", "cpu"]
    own = ["--fold", "1", "--episodes", "4", "--hint", "query-box", "--out", tmp_path / "hints"]
    done = CliRunner().invoke(app, ["hints", *map(str, common + own)])
    assert done.exit_code == 0, done.output
    assert "Every hint is better than none." in done.output or "No better than none: query-box" in done.output
    text = (tmp_path / "hints" / "hints.md").read_text(encoding="utf-8")
    assert "Differences from none" in text
    assert "| query-box" in text
