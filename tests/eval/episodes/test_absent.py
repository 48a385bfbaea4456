"""Queries without what is looked for, and how well scores and masks tell them from the others."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.commands.figures import print_metrics
from eval.commands.report import make_report
from eval.episodes.absent import with_absent
from eval.episodes.presence import auroc, best_threshold
from eval.episodes.segmentation import run_segmentation
from fewshot_seg.datasets.pascal import PascalVoc
from fewshot_seg.episodes.episode import Episode
from fewshot_seg.episodes.protocols import build_protocol, draw_episodes
from fewshot_seg.errors import DataError
from tests.eval.tiny import contents, tiny_task
from tests.fewshot_seg.datasets.voc_files import make_voc, sixteen

SCORES = st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=20)


def slow_auroc(scores: list[float], present: list[bool]) -> float:
    highs = [score for score, is_there in zip(scores, present, strict=True) if is_there]
    lows = [score for score, is_there in zip(scores, present, strict=True) if not is_there]
    wins = [1.0 if high > low else 0.5 if high == low else 0.0 for high, low in itertools.product(highs, lows)]
    return sum(wins) / len(wins) if wins else math.nan


@given(SCORES)
def test_auroc_is_the_share_of_pairs_in_the_right_order(pairs: list[tuple[int, bool]]) -> None:
    scores, present = [float(one) for one, _ in pairs], [is_there for _, is_there in pairs]
    found = auroc(np.array(scores), np.array(present))
    assert found.shape == (1,)
    np.testing.assert_allclose(found[0], slow_auroc(scores, present), atol=1e-12)


@given(SCORES, st.integers(0, 10))
def test_a_weight_is_how_often_a_pair_stands_there(pairs: list[tuple[int, bool]], seed: int) -> None:
    counts = np.random.default_rng(seed).integers(0, 4, len(pairs))
    scores, present = np.array([float(one) for one, _ in pairs]), np.array([is_there for _, is_there in pairs])
    weighted = auroc(scores, present, counts[None].astype(np.float64))
    repeated = auroc(np.repeat(scores, counts), np.repeat(present, counts))
    np.testing.assert_allclose(weighted, repeated, atol=1e-12)


@given(SCORES)
def test_no_threshold_is_better_than_the_best(pairs: list[tuple[int, bool]]) -> None:
    scores, present = np.array([float(one) for one, _ in pairs]), np.array([is_there for _, is_there in pairs])
    threshold, accuracy = best_threshold(scores, present)
    if present.all() or not present.any():
        assert math.isnan(threshold)
        return
    each = {
        float(one): ((scores[present] >= one).mean() + (scores[~present] < one).mean()) / 2 for one in np.unique(scores)
    }
    assert accuracy == pytest.approx(max(each.values()))
    assert each[threshold] == pytest.approx(accuracy)


def test_every_other_query_lacks_the_classes_and_hangs_on_its_own_episode_alone(tmp_path: Path) -> None:
    voc = make_voc(tmp_path / "voc", {**sixteen(first=6), "both": (6, 7), "none": (1,)})
    dataset = PascalVoc(voc, voc / "list.txt")
    protocol = build_protocol("hsnet", dataset, (6, 7), 1, 1, 0)
    episodes = draw_episodes(protocol, 30)
    doubled = with_absent(episodes, dataset, 3)
    assert [one.index for one in doubled] == list(range(60))
    for place, (shown, lacking) in enumerate(zip(doubled[::2], doubled[1::2], strict=True)):
        assert shown.query == episodes[place].query
        assert shown.supports == lacking.supports == episodes[place].supports
        assert not dataset.labels(lacking.query) & set(lacking.classes)
    assert len({one.query for one in doubled[1::2]}) > 4
    later = with_absent(episodes[10:], dataset, 3)
    assert [one.query for one in later] == [one.query for one in doubled[20:]]
    assert [one.query for one in with_absent(episodes, dataset, 4)] != [one.query for one in doubled]


def test_a_list_of_one_class_has_no_absent_query(tmp_path: Path) -> None:
    voc = make_voc(tmp_path / "voc", {"a": (6,), "b": (6,)})
    dataset = PascalVoc(voc, voc / "list.txt")
    with pytest.raises(DataError, match="episode 0: every listed image shows bus; give a list with other images, too"):
        with_absent([Episode(0, "a", (6,), {6: ("b",)})], dataset, 0)


def test_a_run_with_absent_queries(tmp_path: Path) -> None:
    task = tiny_task(tmp_path, absent=True, episodes=6, methods=("ours", "centre-box"))
    metrics = run_segmentation(task)
    assert metrics["episodes"] == 12
    ours, box = (metrics["methods"][name]["presence"] for name in ("ours", "centre-box"))
    assert (ours["present"], ours["absent"]) == (6, 6)
    assert 0 <= ours["auroc_interval"][0] <= ours["auroc"] <= ours["auroc_interval"][1] <= 1
    assert "auroc" not in box
    assert (box["present_found"], box["absent_left_empty"], box["accuracy"]) == (1, 0, 0.5)
    lines = [json.loads(line) for line in (task.out / "predictions.jsonl").read_text().splitlines()]
    scores = [next(iter(line["scores"].values())) for line in lines]
    assert ours["auroc"] == pytest.approx(slow_auroc(scores, [True, False] * 6))
    config = json.loads((task.out / "config.json").read_text())
    assert config["segmenter"]["ours"]["always"] is False
    whole = contents(task.out)
    path = task.out / "predictions.jsonl"
    path.write_bytes(path.read_bytes()[:-10])
    run_segmentation(task)
    assert contents(task.out) == whole


def test_the_report_tells_auroc_and_the_table_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task = tiny_task(tmp_path, absent=True, episodes=6)
    metrics = run_segmentation(task)
    text = make_report(task.out, examples=1).read_text(encoding="utf-8")
    assert "AUROC of the scores, present against absent" in text
    assert "In 6 of 12 episodes the query holds all of its classes." in text
    capsys.readouterr()
    print_metrics(metrics, task.out)
    out = capsys.readouterr().out
    assert "AUROC" in out
    assert f"{100 * metrics['presence']['auroc']:.1f}" in out
