"""Growth: orders from points, tables and pictures, curves in processes of their own, the command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from eval.bench.growth import CURVES, Point, draw_growth, exponents, growth_tables, points_of
from eval.bench.growth_work import WORKS
from eval.commands.bench_growth import NAMES, growth
from fewshot_seg.errors import ConfigError
from fewshot_seg.imaging.images import read_image
from tests.eval.tiny import tiny_task

POINTS = [Point(1, 0.5, 100), Point(10, 5.0, 100), Point(100, 500.0, 120)]


def test_orders_are_exponents() -> None:
    first, *others = exponents(POINTS)
    assert first is None
    assert others == pytest.approx([1, 2])


def test_a_table_and_a_picture(tmp_path: Path) -> None:
    (table,) = growth_tables({"shots": POINTS})
    assert table.rows[-1] == ("100", "500", "2.00", "120")
    assert table.rows[0][2] == "-"
    assert table.notes == ("The work's own order is 2: each is matched with all others.",)
    draw_growth(tmp_path / "shots.png", CURVES["shots"], POINTS)
    assert read_image(tmp_path / "shots.png").shape == (270, 720, 3)
    assert (tmp_path / "shots.png").stat().st_size < 60_000


def test_every_curve_has_its_work(tmp_path: Path) -> None:
    assert list(WORKS) == list(CURVES) == list(NAMES)
    task = tiny_task(tmp_path)
    for name, amounts in {
        "queries": (1, 3),
        "classes": (1, 2),
        "shots": (1, 2),
        "side": (32, 64),
        "gallery": (5, 50),
    }.items():
        points = points_of(name, amounts, task.root, task.weights, "cpu")
        assert [one.amount for one in points] == list(amounts)
        assert all(one.seconds > 0 for one in points)
        assert 10 < points[0].peak_mib <= points[1].peak_mib


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    growth(tmp_path / "new", only=["gallery"], most=10_000)
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["gallery.png", "growth.json", "growth.md"]
    written = json.loads((tmp_path / "new" / "growth.json").read_text())
    assert [one["amount"] for one in written["curves"]["gallery"]["points"]] == [1_000, 10_000]
    assert "Exact search" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="unknown curve 'galery'"):
        growth(tmp_path, only=["galery"])
