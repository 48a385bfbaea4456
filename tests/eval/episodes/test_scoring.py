"""A finished run's figures from its folder alone: what is kept, and scored again another way."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray

from eval.episodes.counts import RunCounts, empty_counts, load_counts, save_counts
from eval.episodes.figures import method_figures
from eval.episodes.plan import SegmentationTask
from eval.episodes.scoring import Scoring, _nearest, count_run, episode_table, read_config, score_folder, stored_counts
from eval.episodes.segmentation import run_segmentation
from eval.measures.metrics import SegmentationScore, confusion, episode_truth
from fewshot_seg.datasets import VOID
from fewshot_seg.datasets.pascal import PascalVoc
from fewshot_seg.episodes.episode import Episode, read_episodes
from fewshot_seg.errors import ConfigError, DataError
from tests.eval.command_line import Done, evaluate
from tests.fewshot_seg.datasets.voc_files import make_voc, sixteen

BLIND = ("centre-box", "all-foreground")


@pytest.fixture
def task(tmp_path: Path) -> SegmentationTask:
    voc = make_voc(tmp_path / "voc", sixteen(first=6))
    task = SegmentationTask(voc, tmp_path / "run", split_list=voc / "list.txt", methods=BLIND)
    return replace(task, fold=1, way=2, episodes=30, skip_small_classes=True)


@pytest.fixture
def dataset(task: SegmentationTask) -> PascalVoc:
    return PascalVoc(task.root, task.split_list)


def command(*arguments: object) -> Done:
    return evaluate("score", *arguments)


def test_scoring_again_gives_the_same_files(task: SegmentationTask) -> None:
    metrics = run_segmentation(task)
    files = {name: (task.out / name).read_bytes() for name in ("metrics.json", "counts.npz")}
    for name in files:
        (task.out / name).unlink()
    assert score_folder(task.out) == metrics
    assert {name: (task.out / name).read_bytes() for name in files} == files


def test_the_figures_are_those_of_a_score_added_up_one_by_one(task: SegmentationTask, dataset: PascalVoc) -> None:
    metrics = run_segmentation(task)
    score = SegmentationScore((6, 7))
    for episode in read_episodes(task.out / "episodes.jsonl", dataset.class_names):
        truth = episode_truth(dataset.mask(episode.query), episode.classes)
        score.add(confusion(np.ones_like(truth), truth, 2), episode.classes)
    assert metrics["methods"]["all-foreground"].items() >= score.to_dict(dataset.class_names).items()


def test_intervals_hold_the_figure_and_narrow_with_more_queries(task: SegmentationTask) -> None:
    wide = run_segmentation(task)
    images = {f"{copy}{name}": classes for copy in range(6) for name, classes in sixteen(first=6).items()}
    more = make_voc(task.root.with_name("more"), images)
    narrow = run_segmentation(
        replace(task, root=more, split_list=more / "list.txt", out=task.out.with_name("more_run"), episodes=120)
    )
    widths = []
    for metrics in (wide, narrow):
        for name in ("miou", "fb_iou", "binary_iou"):
            low, high = metrics["intervals"][name]
            assert 0 <= low <= metrics[name] <= high <= 1
        assert set(metrics["intervals"]["per_class"]) == {"bus", "car"}
        widths.append(np.subtract(*metrics["intervals"]["miou"][::-1]))
    assert widths[1] < widths[0]


def test_no_resamples_no_intervals(task: SegmentationTask) -> None:
    run_segmentation(task)
    assert score_folder(task.out, scoring=Scoring(samples=0))["intervals"] == {}
    with pytest.raises(ConfigError, match="bootstrap -1"):
        Scoring(samples=-1)


def test_the_table_of_episodes(task: SegmentationTask, dataset: PascalVoc) -> None:
    run_segmentation(task)
    rows = episode_table(task.out, dataset, "all-foreground")
    episodes = read_episodes(task.out / "episodes.jsonl", dataset.class_names)
    assert [(row.index, row.query) for row in rows] == [(one.index, one.query) for one in episodes]
    for row, episode in zip(rows, episodes, strict=True):
        mask = dataset.mask(episode.query)
        expected = {"bus": (mask == 6).sum() / (mask != VOID).sum(), "car": 0.0}
        if not (mask == 7).any():
            del expected["car"]
        assert row.class_ious == pytest.approx(expected)
        assert row.miou == pytest.approx(sum(expected.values()) / len(expected))


def test_the_table_is_of_the_predictions_that_are_there(task: SegmentationTask, dataset: PascalVoc) -> None:
    run_segmentation(task)
    before = episode_table(task.out, dataset)
    (task.out / "counts.npz").unlink()
    assert episode_table(task.out, dataset) == before
    score_folder(task.out)
    box, everything = (task.out / f"predictions-{name}.jsonl" for name in BLIND)
    box.write_bytes(everything.read_bytes())
    assert stored_counts(task.out, read_config(task.out)) is None
    assert episode_table(task.out, dataset) == episode_table(task.out, dataset, "all-foreground") != before


def test_a_method_that_the_run_lacks(task: SegmentationTask, dataset: PascalVoc) -> None:
    run_segmentation(task)
    with pytest.raises(ConfigError, match="has no method 'ours'; it has centre-box, all-foreground"):
        episode_table(task.out, dataset, "ours")


def test_boundary_f_is_an_option(task: SegmentationTask) -> None:
    plain = run_segmentation(task)
    assert "boundary_f" not in plain
    with_outlines = score_folder(task.out, scoring=Scoring(boundary=True))
    assert 0 <= with_outlines["boundary_f"] <= 1
    assert set(with_outlines["boundary_per_class"]) == {"bus", "car"}
    assert with_outlines["miou"] == plain["miou"]
    assert load_counts(task.out / "counts.npz").boundary["centre-box"].shape == (30, 2, 4)


def test_what_queries_lack(task: SegmentationTask, dataset: PascalVoc) -> None:
    """Twelve of sixteen images hold one of the two classes; everything is given to the first."""
    presence = run_segmentation(task)["methods"]["all-foreground"]["presence"]
    queries = [row.query for row in episode_table(task.out, dataset)]
    assert presence["absent"] == sum(not name.startswith("c") for name in queries)
    assert presence["present"] + presence["absent"] == 60
    firsts = sum(name.startswith(("a", "c")) for name in queries)
    assert presence["present_found"] == firsts / presence["present"]
    assert presence["absent_left_empty"] == sum(name.startswith("a") for name in queries) / presence["absent"]


# Episodes of several forms in one run


def mixed() -> RunCounts:
    episodes = [
        Episode(0, "q", (3,), {3: ("s",)}),
        Episode(1, "r", (3, 5), {3: ("s", "t"), 5: ("u", "v")}),
        Episode(2, "q", (5,), {5: ("s",)}),
    ]
    counts = empty_counts(episodes, ["m"], boundary=True)
    counts.confusion["m"][0, :2, :2] = [[5, 1], [2, 2]]
    counts.confusion["m"][1] = [[4, 0, 0], [0, 3, 1], [0, 0, 2]]
    counts.confusion["m"][2, :2, :2] = [[0, 0], [0, 10]]
    return counts


def test_one_and_two_way_episodes_in_one_list() -> None:
    counts = mixed()
    assert counts.classes == (3, 5)
    assert counts.score("m").per_class == {3: 5 / 9, 5: 12 / 13}
    assert counts.labels.tolist() == [[3, 0], [3, 5], [5, 0]]


def test_figures_by_the_number_of_supports() -> None:
    names = ["", "", "three", "", "five"]
    figures = method_figures(mixed(), "m", names, samples=10)
    assert figures["per_shot"]["1"]["per_class"] == {"three": 0.4, "five": 1.0}
    assert figures["per_shot"]["2"]["per_class"] == {"three": 0.75, "five": 2 / 3}
    assert figures["per_shot"]["2"]["episodes"] == 1
    json.dumps(figures, allow_nan=False)


def test_counts_are_kept_bit_for_bit(tmp_path: Path) -> None:
    counts = mixed()
    counts.sources["m"] = "abc"
    for name in ("a", "b"):
        save_counts(tmp_path / name, counts)
    back = load_counts(tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (back.queries, back.digest, back.sources) == (counts.queries, counts.digest, counts.sources)
    assert back.shots.tolist() == [1, 2, 1]
    for name in ("labels", "shots"):
        assert np.array_equal(getattr(back, name), getattr(counts, name))
    for name in ("confusion", "boundary"):
        assert np.array_equal(getattr(back, name)["m"], getattr(counts, name)["m"])


def test_the_episodes_digest_tells_other_supports() -> None:
    one, other = (empty_counts([Episode(0, "q", (3,), {3: (name,)})], [], boundary=False) for name in "st")
    assert one.digest != other.digest


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no", b"{}"])
def test_a_file_of_counts_that_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "counts.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"counts\.npz: cannot be read .*; run 'fewshot-eval score'"):
        load_counts(tmp_path / "counts.npz")


# At a protocol's own size


@pytest.mark.parametrize(("old", "new"), [((24, 32), (417, 417)), ((500, 375), (417, 417)), ((3, 4), (2, 9))])
def test_labels_are_resized_as_pillow_s_nearest(
    old: tuple[int, int], new: tuple[int, int], rng: np.random.Generator
) -> None:
    labels: NDArray[np.int64] = rng.integers(-1, 4, old)
    expected = PIL.Image.fromarray(np.where(labels < 0, 255, labels).astype(np.uint8))
    expected = expected.resize(new[::-1], PIL.Image.Resampling.NEAREST)
    assert np.array_equal(np.where(_nearest(labels, new) < 0, 255, _nearest(labels, new)), np.asarray(expected))


def test_panet_s_protocol_is_scored_at_its_size(task: SegmentationTask, dataset: PascalVoc) -> None:
    run_segmentation(task)
    config = read_config(task.out) | {"protocol": "panet"}
    episodes = read_episodes(task.out / "episodes.jsonl", dataset.class_names)
    counts = count_run(task.out, config, dataset, episodes)
    valid = [np.mean(dataset.mask(one.query) != VOID) * 417**2 for one in episodes]
    assert counts.confusion["centre-box"].sum((1, 2)) == pytest.approx(valid, rel=0.03)


# The command


def test_the_command_scores_moved_data(task: SegmentationTask, tmp_path: Path) -> None:
    metrics = run_segmentation(task)
    moved = task.root.rename(tmp_path / "moved")
    failed = command(task.out)
    assert failed.returncode == 1
    assert failed.stderr.startswith("fewshot-eval: error: ")
    assert failed.stderr.count("\n") == 1
    done = command(task.out, "--root", moved, "--split-list", moved / "list.txt", "--boundary", "--bootstrap", 50)
    assert (done.returncode, done.stderr) == (0, "")
    assert "boundary F" in done.stdout
    again = json.loads((task.out / "metrics.json").read_text())
    assert again["miou"] == metrics["miou"]
    assert again["bootstrap"]["samples"] == 50
    assert not math.isnan(again["boundary_f"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"config.json": None}, r"config\.json: cannot be read"),
        ({"config.json": '{"run": "training"}'}, "is not the config of a segmentation run"),
        ({"episodes.jsonl": None}, "cannot read the episodes"),
        ({"predictions-centre-box.jsonl": None}, "predictions-centre-box.jsonl:1: no prediction"),
    ],
)
def test_folders_that_are_no_finished_run(task: SegmentationTask, change: dict[str, str | None], message: str) -> None:
    run_segmentation(task)
    for name, content in change.items():
        (task.out / name).unlink()
        if content is not None:
            (task.out / name).write_text(content)
    with pytest.raises(DataError, match=message):
        score_folder(task.out)
