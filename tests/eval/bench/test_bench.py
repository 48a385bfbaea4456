from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from eval.bench.episodes import bench_episodes
from eval.bench.machine import describe_machine
from eval.bench.timing import side_by_side, spread, write_bench
from eval.cli import app
from eval.commands.bench import episodes
from eval.episodes.methods import Engine
from fewshot_seg.datasets.pascal import PascalVoc
from fewshot_seg.episodes.protocols import build_protocol, draw_episodes
from fewshot_seg.errors import ConfigError
from tests.eval.tiny import tiny_embedder, tiny_task


def test_variants_take_turns_after_a_warm_up() -> None:
    calls: list[str] = []
    timings = side_by_side({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, items=3, rounds=3)
    assert "".join(calls) == "ab" + "ab" + "ba" + "ab"
    assert [one.variant for one in timings] == ["a", "b"]
    assert all(len(one.seconds) == 3 and one.items == 3 for one in timings)


def test_rates_and_ratios() -> None:
    slow, fast = side_by_side({"slow": lambda: time.sleep(0.06), "fast": lambda: time.sleep(0.01)}, items=6, rounds=3)
    assert (slow.ratio.low, slow.ratio.median, slow.ratio.high) == (1, 1, 1)
    assert 20 < slow.rate.median <= 100
    assert fast.ratio.low > 1.2
    assert fast.rate.low <= fast.rate.median <= fast.rate.high <= 600
    assert fast.rate.median == pytest.approx(6 / sorted(fast.seconds)[1])


def test_the_spread() -> None:
    values = spread([3.0, 1.0, 2.0, 10.0])
    assert (values.median, values.low, values.high) == (2.5, 1.0, 10.0)


@pytest.mark.parametrize(("rounds", "items", "names"), [(0, 1, "a"), (1, 0, "a"), (1, 1, "")])
def test_nothing_to_time(rounds: int, items: int, names: str) -> None:
    with pytest.raises(ConfigError, match="at least one of each"):
        side_by_side({name: lambda: None for name in names}, items, rounds)


def test_the_machine_and_the_file(tmp_path: Path) -> None:
    machine = describe_machine()
    assert machine["processors"] >= 1
    assert machine["processor"]
    assert machine["libraries"]["python"] == ".".join(map(str, sys.version_info[:3]))
    timings = side_by_side({"a": lambda: None}, items=1, rounds=2)
    write_bench(tmp_path / "bench.json", "nothing", {"rounds": 2}, {"found": 1}, timings)
    written = json.loads((tmp_path / "bench.json").read_text())
    assert list(written) == ["bench", "machine", "settings", "found", "timings"]
    assert set(written["timings"][0]) == {"variant", "items", "seconds", "rate", "ratio"}


def test_episodes_with_and_without_the_cache(tmp_path: Path) -> None:
    task = tiny_task(tmp_path)
    voc = PascalVoc(task.root, task.split_list)
    drawn = draw_episodes(build_protocol("hsnet", voc, (6, 7), 2, 1, 0), 20)
    engine = Engine(tiny_embedder())
    found = bench_episodes(engine, ("attention", "paper"), voc, drawn, limit_bytes=2**24, workers=2, rounds=2)
    assert found.facts["passes"] == [60, 16, 60, 16]
    assert found.facts["images"] == 16
    assert found.facts["differing_predictions"] == 0
    assert [one.variant for one in found.timings] == [
        "attention, without the cache",
        "attention, with the cache",
        "paper, without the cache",
        "paper, with the cache",
    ]
    assert "with_layers" not in vars(engine.embedder)  # what counted is gone


def test_the_command(tmp_path: Path) -> None:
    task = tiny_task(tmp_path)
    arguments = [f"--root={task.root}", f"--split-list={task.split_list}", "--fold=1", f"--weights={task.weights}"]
    arguments += ["--skip-small-classes", "--episodes=4", "--rounds=1", "--device=cpu", f"--out={tmp_path / 'b.json'}"]
    done = CliRunner().invoke(app, ["bench", "episodes", *arguments, "--method=attention"])
    assert done.exit_code == 0, done.output
    assert "4 episodes of" in done.stdout
    assert "predictions that differ between rounds: 0" in done.stdout
    written = json.loads((tmp_path / "b.json").read_text())
    assert written["settings"]["methods"] == ["attention"]
    assert written["differing_predictions"] == 0


def test_a_method_without_a_network_has_nothing_to_keep(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="centre-box: needs no network"):
        episodes(root=tmp_path, method=["ours", "centre-box"])
