"""Files of tables and figures: of what is there, only ours is replaced; none goes into the data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from eval.bench.timing import write_bench
from eval.cli import app
from eval.commands.table_files import refuse_file, write_tables
from eval.tables.table import Table
from fewshot_seg.errors import ConfigError
from tests.eval.tiny import contents, tiny_task

TABLE = Table("Figures", ("what", "how many"), (("cats", "3"),), ("A note.",))


@pytest.mark.parametrize("ending", ["md", "html", "json"])
def test_ours_is_replaced_and_anything_else_is_not(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"table.{ending}"
    for _ in range(2):
        refuse_file(path)
        write_bench(path, "x", {}, {}, []) if ending == "json" else write_tables(path, "Figures", "here", [TABLE])
    ours = path.read_bytes()
    changed = b"[]" if ending == "json" else ours + b"my notes\n"
    for foreign in (b"", b"my notes\n", b'{"a": 1}', b"[" * 100_000, changed):
        path.write_bytes(foreign)
        with pytest.raises(ConfigError, match="no result of an earlier run; move it"):
            refuse_file(path)
        assert path.read_bytes() == foreign
    path.write_bytes(ours)
    link = tmp_path / f"link.{ending}"
    link.symlink_to(path)
    with pytest.raises(ConfigError, match="no result of an earlier run"):
        refuse_file(link)


def test_commands_refuse_before_they_work(tmp_path: Path) -> None:
    task = tiny_task(tmp_path)
    notes = tmp_path / "notes.md"
    notes.write_text("mine")
    (tmp_path / "bench.json").write_text(json.dumps({"bench": "of a garden"}))
    before = contents(tmp_path)
    data = ("--root", task.root)
    for words in (
        ("compare", task.out, "--out", notes),
        ("region-search", *data, "--out", notes),
        ("region-search", *data, "--out", task.root / "table.md"),
        ("bench", "start", *data, "--table", notes),
        ("bench", "episodes", *data, "--out", tmp_path / "bench.json"),
        ("bench", "ann", "--out", notes),
        ("bench", "growth", *data, "--out", task.root / "growth"),
        ("sequences", *data, "--out", notes),
        ("ablation", *data, "--out", tmp_path / "ablation", "--table", notes),
        ("split-list", *data, "--rule", "any", "--out", notes),
        ("segment", *data, "--out", task.root / "run", "--weights", task.weights, "--skip-small-classes", "--fold=1"),
    ):
        done = CliRunner().invoke(app, list(map(str, words)))
        assert (done.exit_code, len(done.stderr.splitlines())) == (1, 1), (words, done.stderr, done.exception)
        assert "choose another" in done.stderr, (words, done.stderr)
        assert contents(tmp_path) == before, words
